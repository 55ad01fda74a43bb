variable "files" {
  description = "Files of the host, secrets among them. An owner other than root must exist once the packages are installed."
  type = list(object({
    path        = string
    content     = string
    permissions = optional(string, "0644")
    owner       = optional(string, "")
  }))
  sensitive = true
  nullable  = false

  validation {
    condition     = alltrue([for file in var.files : startswith(file.path, "/")])
    error_message = "files: each path must be absolute."
  }
  validation {
    condition     = length(distinct([for file in var.files : file.path])) == length(var.files)
    error_message = "files: two of them have the same path."
  }
}

variable "units" {
  description = "systemd units to enable and start, in this order, without `.service`."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.units) > 0
    error_message = "units: a host that starts nothing needs no user-data."
  }
}

variable "packages" {
  description = "Debian packages to fetch and install, each held against its SHA-256; none where the image has them."
  type        = list(object({ url = string, sha256 = string }))
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for package in var.packages : can(regex("^https://[^\\s'\"\\\\]+\\.deb$", package.url))])
    error_message = "packages: each url must be https and end in .deb."
  }
  validation {
    condition     = alltrue([for package in var.packages : can(regex("^[0-9a-f]{64}$", package.sha256))])
    error_message = "packages: each sha256 must be 64 digits of hex in lower case, as in SHA256SUMS of the release."
  }
}

variable "system_packages" {
  description = "Packages of the distribution that the host needs, such as etcd-server."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "ssh_authorized_keys" {
  description = "Public keys that may log in as root, for `reach` and for people; none where the image or the cloud sees to it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.ssh_authorized_keys : can(regex("^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+", key))])
    error_message = "ssh_authorized_keys: each must be one line of a public key, such as ssh-ed25519 AAAA…"
  }
}
