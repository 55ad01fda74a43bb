output "name" {
  description = "The agent's name."
  value       = var.name
}

output "address" {
  description = "Address at which others of its network reach the workloads."
  value       = var.address
}

output "token_file" {
  description = "Where the agent looks for its join token; needed for its first start only."
  value       = local.token_file
}

output "units" {
  description = "systemd units of the host, in the order they are started."
  value       = local.units
}

output "files" {
  description = "Files of the host: path, content, permissions and owner (empty for root)."
  value       = local.files
  sensitive   = true
}

output "user_data" {
  description = "cloud-init user-data of the host. With a join token in it, whoever may read an instance's user-data may use the token before the host does."
  value       = module.cloud_init.user_data
  sensitive   = true
}
