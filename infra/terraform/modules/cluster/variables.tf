variable "name" {
  description = "The cluster's name, unique in the federation; it is in every identity of the cluster and cannot be changed later."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", var.name))
    error_message = "name: must be 1 to 32 lower-case letters, digits and dashes, and neither begin nor end with a dash."
  }
}

variable "federation" {
  description = "The federation the cluster joins: the whole module `federation`."
  type = object({
    trust_domain = string
    address      = string
    admission    = object({ admit = string, remove = string })
  })
  nullable = false
}

variable "locality" {
  description = "Where the cluster is, as region/zone/sub-zone; callers prefer what is near."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9-]{1,63}(/[a-z0-9-]{1,63}){0,2})?$", var.locality))
    error_message = "locality: must be up to three names of lower-case letters, digits and dashes with slashes between, such as europe/a."
  }
}

variable "host" {
  description = "The host of control plane, admin API and gateway: its name, and the address at which hosts of the cluster's network reach it."
  type        = object({ name = string, address = string })
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.host.name))
    error_message = "host: its name must be lower-case letters, digits and dashes."
  }
  validation {
    condition     = can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\])$", var.host.address))
    error_message = "host: its address must be a host name or an IP address (IPv6 in brackets), without scheme and port."
  }
}

variable "public_addresses" {
  description = "`host:port` at which other clusters and VMs reach the gateway; the host's own address and the gateway's port where this is empty."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.public_addresses : can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\]):[1-9][0-9]{0,4}$", address))])
    error_message = "public_addresses: each must be host:port, such as 203.0.113.10:15443."
  }
}

variable "gateway_port" {
  description = "The one port that is open to other clusters and VMs."
  type        = number
  default     = 15443
  nullable    = false

  validation {
    condition     = var.gateway_port >= 1 && var.gateway_port <= 65535 && floor(var.gateway_port) == var.gateway_port
    error_message = "gateway_port: must be a whole number from 1 to 65535."
  }
}

variable "gateway_workers" {
  description = "Worker threads of the gateway; one per processor, at most 8, where this is null."
  type        = number
  default     = null

  validation {
    condition     = var.gateway_workers == null ? true : var.gateway_workers >= 1 && var.gateway_workers <= 64 && floor(var.gateway_workers) == var.gateway_workers
    error_message = "gateway_workers: must be a whole number from 1 to 64."
  }
}

variable "listen_host" {
  description = "Address of the host that control plane and gateway listen on."
  type        = string
  default     = "0.0.0.0"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$", var.listen_host))
    error_message = "listen_host: must be an IP address, such as 127.0.0.1."
  }
}

variable "loopback_host" {
  description = "Address at which the host itself is served: admin API on port 7200, health and metrics of control plane, admin API and gateway on 7101, 7201 and 7301."
  type        = string
  default     = "127.0.0.1"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$", var.loopback_host))
    error_message = "loopback_host: must be an IP address, such as 127.0.0.1."
  }
}

variable "grants" {
  description = "Who may do what through the admin API: `who` is a SPIFFE ID or `oidc:<issuer's name>:<subject>`, `role` viewer, operator or trust-admin; all clusters and namespaces where none are named."
  type = list(object({
    who        = string
    role       = string
    clusters   = optional(list(string))
    namespaces = optional(list(string))
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for grant in var.grants : contains(["viewer", "operator", "trust-admin"], grant.role)])
    error_message = "grants: each role must be viewer, operator or trust-admin."
  }
  validation {
    condition     = alltrue([for grant in var.grants : can(regex("^(spiffe://[a-z0-9._-]+/.+|oidc:[a-z0-9-]+:.+)$", grant.who))])
    error_message = "grants: each who must be a SPIFFE ID, such as spiffe://east.acme.example/operator/alice, or oidc:<issuer's name>:<subject>."
  }
}

variable "oidc" {
  description = "OpenID Connect issuers whose bearer tokens the admin API takes: the exact issuer, the audience that is this cluster's alone, where its keys are (`jwks_url`, or `discover`), and roles by claims."
  type = list(object({
    name     = string
    issuer   = string
    audience = string
    jwks_url = optional(string)
    discover = optional(bool)
    rules = optional(list(object({
      match      = map(string)
      role       = string
      clusters   = optional(list(string))
      namespaces = optional(list(string))
    })), [])
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for issuer in var.oidc : startswith(issuer.issuer, "https://") && (issuer.jwks_url != null) != (issuer.discover == true)])
    error_message = "oidc: each issuer must be https, and its keys be found by jwks_url or by discover, one of both."
  }
  validation {
    condition     = alltrue(flatten([for issuer in var.oidc : [for rule in issuer.rules : length(rule.match) > 0 && contains(["viewer", "operator", "trust-admin"], rule.role)]]))
    error_message = "oidc: each rule needs a claim to match and a role out of viewer, operator and trust-admin."
  }
}

variable "forwarders" {
  description = "Clusters whose admin API may forward requests of people to this one, and the most those may then do: roles by cluster."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue(flatten([for roles in values(var.forwarders) : [length(roles) > 0, [for role in roles : contains(["viewer", "operator", "trust-admin"], role)]]]))
    error_message = "forwarders: each cluster needs at least one role out of viewer, operator and trust-admin."
  }
  validation {
    condition     = !contains(keys(var.forwarders), var.name)
    error_message = "forwarders: a cluster does not forward to itself; leave ${var.name} out."
  }
}

variable "operator" {
  description = "Name of the operator whose first token is made on the host (`operator_token` of the outputs); `grants` says what that one may do."
  type        = string
  default     = "terraform"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.operator))
    error_message = "operator: must be lower-case letters, digits and dashes."
  }
}

variable "embedded_store_port" {
  description = "Port on loopback of the store inside the control plane, where there is no etcd."
  type        = number
  default     = 2379
  nullable    = false

  validation {
    condition     = var.embedded_store_port >= 1 && var.embedded_store_port <= 65535 && floor(var.embedded_store_port) == var.embedded_store_port
    error_message = "embedded_store_port: must be a whole number from 1 to 65535."
  }
}

variable "etcd_members" {
  description = "Members of the cluster's etcd by host name; a member named like `host` shares its host. Without any the control plane keeps its store itself."
  type = map(object({
    address     = string
    listen_host = optional(string, "0.0.0.0")
    client_port = optional(number, 2379)
    peer_port   = optional(number, 2380)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = contains([0, 1, 3, 5, 7], length(var.etcd_members))
    error_message = "etcd_members: must be 1, 3, 5 or 7 members, or none: an even number survives no more failures than one less."
  }
  validation {
    condition     = alltrue([for name in keys(var.etcd_members) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "etcd_members: each name must be lower-case letters, digits and dashes."
  }
  validation {
    condition     = alltrue([for member in values(var.etcd_members) : can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\])$", member.address)) && member.client_port != member.peer_port && alltrue([for port in [member.client_port, member.peer_port] : port >= 1 && port <= 65535 && floor(port) == port])])
    error_message = "etcd_members: each needs an address without scheme and port, and two ports from 1 to 65535 that differ."
  }
}

variable "etcd_tls" {
  description = "PEM texts of the etcd's own CA: its certificate, the control plane's client certificate and key, and for each member a certificate and key for both server and client use."
  type = object({
    ca          = string
    client_cert = string
    client_key  = string
    members     = map(object({ cert = string, key = string }))
  })
  default   = null
  sensitive = true

  validation {
    condition     = (var.etcd_tls == null) == (length(var.etcd_members) == 0)
    error_message = "etcd_tls: needed with etcd_members, and only then: etcd does not listen without TLS."
  }
  validation {
    condition     = var.etcd_tls == null ? true : length(setsubtract(keys(var.etcd_members), keys(var.etcd_tls.members))) == 0
    error_message = "etcd_tls: a member of etcd_members has no certificate in etcd_tls.members."
  }
}

variable "reach" {
  description = "Commands that run their last argument, a shell command, as root on a host, such as `ssh root@10.0.0.1`. With both, Terraform has the trust root admit the cluster and hands the token over; without, an operator does (`admission` of the outputs)."
  type        = object({ trust_root = string, host = string })
  default     = null

  validation {
    condition     = var.reach == null ? true : trimspace(var.reach.trust_root) != "" && trimspace(var.reach.host) != ""
    error_message = "reach: both commands are needed, such as ssh root@10.0.0.1."
  }
}

variable "bootstrap_token" {
  description = "The cluster's one-time token, such as `isthmus_cluster.east.bootstrap_token`, to be put into the host's files; in place of `reach`."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.bootstrap_token == null ? true : can(regex("^ict1\\.[A-Za-z0-9._-]+$", var.bootstrap_token))
    error_message = "bootstrap_token: this is no cluster's token; it begins with ict1. (a join token, ijt1., lets agents and gateways in)."
  }
}

variable "host_id" {
  description = "What changes when the host is made anew, such as the instance's ID: the cluster is then admitted again."
  type        = string
  default     = ""
  nullable    = false
}

variable "packages" {
  description = "Debian packages to fetch and install, each held against its SHA-256: `isthmus`, `isthmus-control-plane`, `isthmus-admin-api`, `isthmus-gateway`; none where the image has them."
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
  description = "What every path on the hosts begins with; empty on hosts of their own."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.root_dir == "" || can(regex("^(/[A-Za-z0-9._-]+)+$", var.root_dir))
    error_message = "root_dir: must be empty, or an absolute path of letters, digits, dots, dashes and underscores without a slash at its end."
  }
}

variable "user" {
  description = "User the programs run as; empty where they run as whoever starts them."
  type        = string
  default     = "isthmus"
  nullable    = false

  validation {
    condition     = can(regex("^([a-z_][a-z0-9_-]{0,31})?$", var.user))
    error_message = "user: must be the name of a user, or empty."
  }
}

variable "etcd_user" {
  description = "User that etcd runs as; empty where it runs as whoever starts it."
  type        = string
  default     = "etcd"
  nullable    = false

  validation {
    condition     = can(regex("^([a-z_][a-z0-9_-]{0,31})?$", var.etcd_user))
    error_message = "etcd_user: must be the name of a user, or empty."
  }
}
