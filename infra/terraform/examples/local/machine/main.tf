# One host, played by processes of this machine under a root folder of its own.

terraform {
  required_version = ">= 1.9"
}

variable "root_dir" {
  description = "The host's root folder."
  type        = string
}

variable "files" {
  description = "Files of the host, as the modules give them."
  type        = list(object({ path = string, content = string, permissions = string, owner = string }))
  sensitive   = true
}

variable "units" {
  description = "systemd units of the host, in the order they are started."
  type        = list(string)
}

variable "ends_with" {
  description = "Number of a process with which the host ends; empty for none."
  type        = string
}

variable "ready" {
  description = "File on the host, such as a socket, that says it serves; empty for none. Nothing that depends on the host begins before."
  type        = string
  default     = ""
}

resource "terraform_data" "host" {
  # Other files are another host, started anew over the state of the one before.
  triggers_replace = [nonsensitive(sha256(jsonencode([var.files, var.units])))]
  input            = { script = abspath("${path.module}/../host"), root = var.root_dir }

  provisioner "local-exec" {
    command = "sh '${self.input.script}' up '${self.input.root}'"
    environment = {
      HOST_FILES     = join("\n", [for file in var.files : "${file.permissions} ${file.path} ${base64encode(file.content)}"])
      HOST_UNITS     = join(" ", var.units)
      HOST_READY     = var.ready
      HOST_ENDS_WITH = var.ends_with
    }
  }
  provisioner "local-exec" {
    when    = destroy
    command = "sh '${self.input.script}' down '${self.input.root}'"
  }
}

output "reach" {
  description = "The command that runs its last argument on the host."
  value       = "sh '${terraform_data.host.output.script}' run '${terraform_data.host.output.root}'"
}
