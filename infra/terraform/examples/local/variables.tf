variable "directory" {
  description = "Folder of the hosts' root folders; removed when all is destroyed. Short: sockets lie in it."
  type        = string
  default     = "/tmp/isthmus-terraform"
  nullable    = false

  validation {
    condition     = can(regex("^(/[A-Za-z0-9._-]+)+$", var.directory)) && length(var.directory) <= 50
    error_message = "directory: must be an absolute path of at most 50 letters, digits, dots, dashes and underscores."
  }
}

variable "network" {
  description = "First two numbers of the hosts' addresses, in 127.0.0.0/8."
  type        = string
  default     = "127.71"
  nullable    = false

  validation {
    condition     = can(regex("^127\\.([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-4])$", var.network))
    error_message = "network: must be 127. and a number from 1 to 254, such as 127.71."
  }
}

variable "federation" {
  description = "Trust domain of the federation."
  type        = string
  default     = "local.isthmus.example"
  nullable    = false
}

variable "ledger_consumers" {
  description = "Clusters that may call `ledger`, which is in west."
  type        = list(string)
  default     = ["east"]
  nullable    = false
}

variable "ledger_weight" {
  description = "Weight of the one instance of `ledger`."
  type        = number
  default     = 100
  nullable    = false
}

variable "application" {
  description = "Command of the application behind `ledger`; port, cluster and instance follow it. The demo's sample program where this is null."
  type        = string
  default     = null
}

variable "application_port" {
  description = "Port on 127.0.0.1 where the sample application behind `ledger` listens."
  type        = number
  default     = 18080
  nullable    = false
}

variable "embedded_store_ports" {
  description = "Ports on loopback of the clusters' stores: the hosts share it."
  type        = object({ east = number, west = number })
  default     = { east = 12379, west = 12380 }
  nullable    = false
}

variable "east_etcd" {
  description = "A real etcd for east in place of the store inside its control plane: two free ports on loopback, and PEM texts of a CA, a client's certificate and key, and a server's for 127.0.0.1."
  type        = object({ client_port = number, peer_port = number, ca = string, client_cert = string, client_key = string, cert = string, key = string })
  default     = null
  sensitive   = true
}

variable "ends_with" {
  description = "Number of a process with which all hosts end; empty where they go on until they are destroyed."
  type        = string
  default     = ""
  nullable    = false
}
