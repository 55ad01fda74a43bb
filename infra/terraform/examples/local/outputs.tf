output "ledger_url" {
  description = "Where a program of the VM calls `ledger`, which runs in west."
  value       = "http://${local.address.vm}:8100/"
}
