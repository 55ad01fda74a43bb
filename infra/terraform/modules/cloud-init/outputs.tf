output "user_data" {
  description = "cloud-config for the host's first boot."
  value       = local.user_data
  sensitive   = true
}
