variable "reach" {
  description = "Command that runs its last argument, a shell command, as root on the cluster's host, such as `ssh root@10.0.0.1`."
  type        = string
  nullable    = false
}

variable "operator_token" {
  description = "The command that prints an operator's token on that host (`operator_token` of the module `cluster`)."
  type        = string
  nullable    = false
}

variable "operator_id" {
  description = "SPIFFE ID the login is to give (`operator_id` of the module `cluster`); another one is another login."
  type        = string
  nullable    = false
}

variable "server" {
  description = "`host:port` of the cluster's gateway."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^.+:[1-9][0-9]{0,4}$", var.server))
    error_message = "server: must be host:port, such as 203.0.113.10:15443."
  }
}

variable "directory" {
  description = "Folder on this machine for the login and its PEM files; only its owner may read it."
  type        = string
  nullable    = false

  validation {
    condition     = !strcontains(var.directory, "'") && var.directory != ""
    error_message = "directory: must be a path, without single quotes."
  }
}

variable "shell" {
  description = "Command that runs its last argument on this machine, where `isthmus` is not in the PATH of `sh -c`."
  type        = string
  default     = "sh -c"
  nullable    = false
}
