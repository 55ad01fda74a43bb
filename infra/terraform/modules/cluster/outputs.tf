output "name" {
  description = "The cluster's name."
  value       = var.name
  depends_on  = [terraform_data.admission]
}

output "trust_domain" {
  description = "The cluster's trust domain."
  value       = local.trust_domain
}

output "gateways" {
  description = "`host:port` at which other clusters, VMs and operators reach the cluster."
  value       = local.public_addresses
  depends_on  = [terraform_data.admission]
}

output "control_plane" {
  description = "`host:port` at which agents of the cluster's own network reach the control plane."
  value       = "${var.host.address}:${local.ports.control_plane}"
  depends_on  = [terraform_data.admission]
}

output "operator_id" {
  description = "SPIFFE ID that the token of `operator_token` gives."
  value       = "spiffe://${local.trust_domain}/operator/${var.operator}"
}

output "operator_token" {
  description = "Command for a shell on the host that prints a one-time token for `operator`, to log in with."
  value       = "test -S ${local.control_plane_socket} || { echo the control plane is not up >&2; exit 69; }; isthmus token create ${var.operator} --role operator --ttl 10m --socket ${local.control_plane_socket}"
}

output "admission" {
  description = "What an operator does where `reach` is not given: `admit` on the trust root's host prints a token, `take` on the cluster's host reads it from standard input."
  value       = { admit = local.admit, take = local.take, remove = local.remove }
}

output "addresses" {
  description = "Addresses of the cluster's hosts, by name."
  value       = local.addresses
}

output "units" {
  description = "systemd units by host, in the order they are started."
  value       = local.units
}

output "files" {
  description = "Files by host: path, content, permissions and owner (empty for root)."
  value       = local.files
  sensitive   = true
}

output "user_data" {
  description = "cloud-init user-data by host."
  value       = { for name, host in module.cloud_init : name => host.user_data }
  sensitive   = true
}
