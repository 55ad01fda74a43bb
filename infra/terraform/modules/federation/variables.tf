variable "trust_domain" {
  description = "The federation's trust domain, such as `acme.example`. It is in every identity and cannot be changed later."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9._-]{0,220}[a-z0-9])?$", var.trust_domain))
    error_message = "trust_domain: must be lower-case letters, digits, dots, dashes and underscores, such as acme.example."
  }
}

variable "address" {
  description = "Address or name at which the clusters reach the trust root's host."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9a-fA-F:.]+\\])$", var.address))
    error_message = "address: must be a host name or an IP address (IPv6 in brackets), without scheme and port."
  }
}

variable "port" {
  description = "Port at which the clusters reach the trust root."
  type        = number
  default     = 7000
  nullable    = false

  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: must be a whole number from 1 to 65535."
  }
}

variable "listen_host" {
  description = "Address of the host the trust root listens on."
  type        = string
  default     = "0.0.0.0"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$", var.listen_host))
    error_message = "listen_host: must be an IP address, such as 127.0.0.1."
  }
}

variable "loopback_host" {
  description = "Address at which the host itself is served health and metrics, on port 7001."
  type        = string
  default     = "127.0.0.1"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$", var.loopback_host))
    error_message = "loopback_host: must be an IP address, such as 127.0.0.1."
  }
}

variable "key_kind" {
  description = "Kind of the root's key; used at the first start only."
  type        = string
  default     = "ec-p256"
  nullable    = false

  validation {
    condition     = contains(["ec-p256", "rsa-3072"], var.key_kind)
    error_message = "key_kind: must be ec-p256 or rsa-3072."
  }
}

variable "key_passphrase" {
  description = "Passphrase the root's keys are sealed under on the host; without one they are plain files of mode 0600."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.key_passphrase == null ? true : length(var.key_passphrase) >= 16 && !strcontains(var.key_passphrase, "\n")
    error_message = "key_passphrase: must be one line of at least 16 characters."
  }
}

variable "key_pkcs11" {
  description = "Token that keeps the root's keys in place of files: the vendor's library on the host, the token's label, its serial number where two have one label, and the user PIN."
  type        = object({ module = string, token = string, serial = optional(string), pin = string })
  default     = null
  sensitive   = true

  validation {
    condition     = var.key_pkcs11 == null ? true : startswith(var.key_pkcs11.module, "/") && length(var.key_pkcs11.token) >= 1 && length(var.key_pkcs11.token) <= 32 && var.key_pkcs11.pin != ""
    error_message = "key_pkcs11: needs the library's absolute path, a label of 1 to 32 characters, and a PIN."
  }
  validation {
    condition     = var.key_pkcs11 == null || var.key_passphrase == null
    error_message = "key_pkcs11: keys in a token are under no passphrase; leave key_passphrase out."
  }
}

variable "intermediate_ttl" {
  description = "Life of a cluster's intermediate, 10s to 90d; renewed at half of it. The trust root may be away for as long."
  type        = string
  default     = "24h"
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]{0,6}(s|m|h|d)$", var.intermediate_ttl))
    error_message = "intermediate_ttl: must be a number with s, m, h or d, such as 24h."
  }
}

variable "operators" {
  description = "Clusters whose admin API may ask the trust root for changes, for whom (everybody that it calls a trust-admin where nobody is named), and for which: `rotate`, `fence`, `members`."
  type        = list(object({ cluster = string, who = optional(list(string)), may = list(string) }))
  default     = []
  nullable    = false

  validation {
    condition     = alltrue(flatten([for operator in var.operators : [length(operator.may) > 0, [for right in operator.may : contains(["rotate", "fence", "members"], right)]]]))
    error_message = "operators: each needs at least one right out of rotate, fence and members."
  }
}

variable "admission_token_ttl" {
  description = "How long the one-time token of a cluster may be used once it is made."
  type        = string
  default     = "1h"
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]{0,6}(s|m|h|d)$", var.admission_token_ttl))
    error_message = "admission_token_ttl: must be a number with s, m, h or d, such as 1h."
  }
}

variable "packages" {
  description = "Debian packages to fetch and install, each held against its SHA-256: `isthmus` and `isthmus-trust-root`; none where the image has them."
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
  description = "User the programs run as; empty where they run as whoever starts them."
  type        = string
  default     = "isthmus"
  nullable    = false

  validation {
    condition     = can(regex("^([a-z_][a-z0-9_-]{0,31})?$", var.user))
    error_message = "user: must be the name of a user, or empty."
  }
}
