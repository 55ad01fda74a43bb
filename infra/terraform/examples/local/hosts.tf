# The two hosts with workloads: one inside west, and a VM far from both clusters, which belongs to east.

locals {
  checkout = abspath("${path.module}/../../../..")
  sample   = "${local.checkout}/node_modules/.bin/node ${local.checkout}/apps/cli/src/demo/sample-workload.ts"
}

module "ledger" {
  source        = "../../modules/vm-agent"
  name          = "ledger"
  server        = module.west.control_plane
  join_token    = isthmus_join_token.ledger.token
  address       = local.address.ledger
  network       = module.west.name
  locality      = "america/west/a"
  address_range = null
  dns_port      = null
  resolver      = false
  loopback_host = local.address.ledger
  workloads = {
    ledger-1 = {
      namespace    = isthmus_service.ledger.namespace
      service      = isthmus_service.ledger.name
      ports        = { http = var.application_port }
      host         = "127.0.0.1"
      weight       = var.ledger_weight
      health_check = { kind = "http", path = "/healthz", interval_ms = 500 }
    }
  }
  root_dir = local.root.ledger
  user     = ""
}

module "ledger_host" {
  source   = "./machine"
  root_dir = local.root.ledger
  # The application is anybody's program; here it comes with the host.
  files = concat(module.ledger.files, [{
    path        = "${local.root.ledger}/etc/systemd/system/application.service"
    content     = "[Service]\nExecStart=${coalesce(var.application, local.sample)} ${var.application_port} west ledger-1\n"
    permissions = "0644"
    owner       = ""
  }])
  units      = concat(["application"], module.ledger.units)
  ends_with  = var.ends_with
  depends_on = [terraform_data.directory]
}

module "vm" {
  source        = "../../modules/vm-agent"
  name          = "vm-1"
  server        = module.east.gateways[0]
  join_token    = isthmus_join_token.vm.token
  address       = local.address.vm
  locality      = "europe/office"
  call_as       = "shop/web"
  listeners     = { "shop/ledger" = { host = local.address.vm, port = 8100 } }
  address_range = null
  dns_port      = null
  resolver      = false
  loopback_host = local.address.vm
  root_dir      = local.root.vm
  user          = ""
}

module "vm_host" {
  source     = "./machine"
  root_dir   = local.root.vm
  files      = module.vm.files
  units      = module.vm.units
  ends_with  = var.ends_with
  depends_on = [terraform_data.directory]
}
