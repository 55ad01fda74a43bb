variable "name" {
  description = "The agent's name, unique in its cluster: the one its join token is for."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.name))
    error_message = "name: must be 1 to 63 lower-case letters, digits and dashes, and neither begin nor end with a dash."
  }
}

variable "server" {
  description = "`host:port` of the cluster's gateway from outside its network (`gateways` of the module `cluster`), or of its control plane from inside."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\]):[1-9][0-9]{0,4}$", var.server))
    error_message = "server: must be host:port, such as 203.0.113.10:15443."
  }
}

variable "join_token" {
  description = "The one-time join token, such as `isthmus_join_token.vm.token`. Without one the agent waits for somebody to put it into `token_file` of the outputs."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.join_token == null ? true : can(regex("^ijt1\\.[A-Za-z0-9._-]+$", var.join_token))
    error_message = "join_token: this is no join token; it begins with ijt1. (a cluster's token, ict1., lets no agent in)."
  }
}

variable "address" {
  description = "Address of the host at which others of its network reach the workloads."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$", var.address))
    error_message = "address: must be an IP address or a host name, without port."
  }
}

variable "network" {
  description = "Network the host is in: what shares one reaches each other without a gateway. A network of its own, called like the agent, where this is null; the cluster's name for a host inside it."
  type        = string
  default     = null

  validation {
    condition     = var.network == null ? true : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.network))
    error_message = "network: must be lower-case letters, digits and dashes."
  }
}

variable "locality" {
  description = "Where the host is, as region/zone/sub-zone; callers prefer what is near."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9-]{1,63}(/[a-z0-9-]{1,63}){0,2})?$", var.locality))
    error_message = "locality: must be up to three names of lower-case letters, digits and dashes with slashes between, such as europe/a."
  }
}

variable "call_as" {
  description = "Service whose identity calls from this host carry, as namespace/name; its join token must allow it."
  type        = string
  default     = null

  validation {
    condition     = var.call_as == null ? true : can(regex("^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$", var.call_as))
    error_message = "call_as: must be namespace/name, such as shop/web."
  }
}

variable "address_range" {
  description = "Addresses of this host, one of which stands for each service of the federation; DNS tells which. None where this is null."
  type        = string
  default     = "127.64.0.0/16"

  validation {
    condition     = var.address_range == null ? true : can(cidrnetmask(var.address_range))
    error_message = "address_range: must be an IPv4 range, such as 127.64.0.0/16."
  }
}

variable "listeners" {
  description = "Ports of this host that stand for a service each, by namespace/name, for programs that cannot ask DNS."
  type = map(object({
    port     = number
    host     = optional(string, "127.0.0.1")
    protocol = optional(string, "http")
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for service in keys(var.listeners) : can(regex("^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$", service))])
    error_message = "listeners: each key must be namespace/name, such as shop/payments."
  }
  validation {
    condition     = alltrue([for listener in values(var.listeners) : listener.port >= 1 && listener.port <= 65535 && contains(["http", "http2", "grpc", "tcp"], listener.protocol)])
    error_message = "listeners: each needs a port from 1 to 65535 and a protocol out of http, http2, grpc and tcp."
  }
  validation {
    condition     = length(distinct([for listener in values(var.listeners) : "${listener.host}:${listener.port}"])) == length(var.listeners)
    error_message = "listeners: two services have the same host and port."
  }
}

variable "dns_port" {
  description = "Port on 127.0.0.1 where the agent answers for the zone clusterset.local; null for no DNS."
  type        = number
  default     = 5353

  validation {
    condition     = var.dns_port == null ? true : var.dns_port >= 1 && var.dns_port <= 65535 && floor(var.dns_port) == var.dns_port
    error_message = "dns_port: must be a whole number from 1 to 65535, or null."
  }
}

variable "resolver" {
  description = "Whether systemd-resolved of the host sends the zone clusterset.local to the agent."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = !var.resolver || var.dns_port != null
    error_message = "resolver: needs dns_port: without it there is nobody to send the zone to."
  }
}

variable "workloads" {
  description = "Instances of services on this host, by instance name: where the application listens by port name, and how to see whether it works."
  type = map(object({
    namespace = string
    service   = string
    ports     = map(number)
    host      = optional(string)
    weight    = optional(number)
    labels    = optional(map(string))
    health_check = optional(object({
      kind        = string
      path        = optional(string)
      port        = optional(number)
      interval_ms = optional(number)
      timeout_ms  = optional(number)
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue(flatten([for instance, workload in var.workloads : [for name in [instance, workload.namespace, workload.service] : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))]]))
    error_message = "workloads: instance, namespace and service must each be lower-case letters, digits and dashes."
  }
  validation {
    condition     = alltrue(flatten([for workload in values(var.workloads) : [length(workload.ports) > 0, [for port in values(workload.ports) : port >= 1 && port <= 65535 && floor(port) == port]]]))
    error_message = "workloads: each needs at least one port, and ports are whole numbers from 1 to 65535."
  }
  validation {
    condition     = alltrue([for workload in values(var.workloads) : workload.health_check == null ? true : contains(["http", "tcp", "grpc"], workload.health_check.kind)])
    error_message = "workloads: the kind of a health_check must be http, tcp or grpc."
  }
  validation {
    condition     = alltrue([for workload in values(var.workloads) : (workload.weight == null ? true : workload.weight >= 1 && workload.weight <= 1000 && floor(workload.weight) == workload.weight) && (try(workload.health_check.port, null) == null ? true : workload.health_check.port >= 1 && workload.health_check.port <= 65535)])
    error_message = "workloads: a weight is a whole number from 1 to 1000, and the port of a health_check one from 1 to 65535."
  }
}

variable "loopback_host" {
  description = "Address at which the host itself is served health and metrics, on port 7401."
  type        = string
  default     = "127.0.0.1"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$", var.loopback_host))
    error_message = "loopback_host: must be an IP address, such as 127.0.0.1."
  }
}

variable "packages" {
  description = "Debian packages to fetch and install, each held against its SHA-256: `isthmus` and `isthmus-agent`; none where the image has them."
  type        = list(object({ url = string, sha256 = string }))
  default     = []
  nullable    = false
}

variable "ssh_authorized_keys" {
  description = "Public keys that may log in as root, for `reach` and for people; none where the image or the cloud sees to it."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "root_dir" {
  description = "What every path on the host begins with; empty on a host of its own."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.root_dir == "" || can(regex("^(/[A-Za-z0-9._-]+)+$", var.root_dir))
    error_message = "root_dir: must be empty, or an absolute path of letters, digits, dots, dashes and underscores without a slash at its end."
  }
}

variable "user" {
  description = "User the agent runs as; empty where it runs as whoever starts it."
  type        = string
  default     = "isthmus"
  nullable    = false

  validation {
    condition     = can(regex("^([a-z_][a-z0-9_-]{0,31})?$", var.user))
    error_message = "user: must be the name of a user, or empty."
  }
}
