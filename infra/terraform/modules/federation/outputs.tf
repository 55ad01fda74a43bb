output "trust_domain" {
  description = "The federation's trust domain."
  value       = var.trust_domain
}

output "address" {
  description = "`host:port` at which the clusters reach the trust root."
  value       = "${var.address}:${var.port}"
}

output "admission" {
  description = "Commands for a shell on the trust root's host, with CLUSTER in place of a cluster's name: `admit` prints its one-time token, `remove` ends its membership."
  value = {
    admit = "isthmus cluster token create CLUSTER --ttl ${var.admission_token_ttl} --socket ${local.socket}"
    # 66: it is no member any more, or never was.
    remove = "isthmus cluster remove CLUSTER --socket ${local.socket} || test $? = 66"
  }
}

output "socket" {
  description = "Unix socket of the trust root's operators on its host: the provider's `trust_root_socket` where Terraform runs there, or where `ssh -L` brings it."
  value       = local.socket
}

output "user_data" {
  description = "cloud-init user-data of the trust root's host."
  value       = module.cloud_init.user_data
  sensitive   = true
}

output "files" {
  description = "Files of the host: path, content, permissions and owner (empty for root)."
  value       = local.files
  sensitive   = true
}

output "units" {
  description = "systemd units of the host, in the order they are started."
  value       = local.units
}
