# Two clusters and a VM out of the same modules as anywhere else, with processes of this machine in place of hosts.

locals {
  address = { trust_root = "${var.network}.0.1", east = "${var.network}.1.1", west = "${var.network}.2.1", ledger = "${var.network}.2.2", vm = "${var.network}.3.1" }
  root    = { for name in concat(keys(local.address), ["operator"]) : name => "${var.directory}/${name}" }
  # The operator logs in at east; west lets east's admin API forward what that one asks for.
  grants = [for role in ["operator", "trust-admin"] : { who = "spiffe://east.${var.federation}/operator/terraform", role = role }]
}

# First made and last destroyed: every host lies in it.
resource "terraform_data" "directory" {
  input = { path = var.directory }

  provisioner "local-exec" {
    command = "mkdir -p -m 0700 '${self.input.path}'"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "rm -rf '${self.input.path}'"
  }
}

module "federation" {
  source        = "../../modules/federation"
  trust_domain  = var.federation
  address       = local.address.trust_root
  listen_host   = local.address.trust_root
  loopback_host = local.address.trust_root
  root_dir      = local.root.trust_root
  user          = ""
}

module "trust_root_host" {
  source     = "./machine"
  root_dir   = local.root.trust_root
  files      = module.federation.files
  units      = module.federation.units
  ready      = module.federation.socket
  ends_with  = var.ends_with
  depends_on = [terraform_data.directory]
}

locals {
  is_etcd = nonsensitive(var.east_etcd != null)
}

module "east" {
  source              = "../../modules/cluster"
  name                = "east"
  federation          = module.federation
  locality            = "europe/east"
  host                = { name = "east-1", address = local.address.east }
  listen_host         = local.address.east
  loopback_host       = local.address.east
  embedded_store_port = var.embedded_store_ports.east
  etcd_members        = !local.is_etcd ? {} : { east-1 = { address = "127.0.0.1", listen_host = "127.0.0.1", client_port = nonsensitive(var.east_etcd.client_port), peer_port = nonsensitive(var.east_etcd.peer_port) } }
  etcd_tls            = !local.is_etcd ? null : { ca = var.east_etcd.ca, client_cert = var.east_etcd.client_cert, client_key = var.east_etcd.client_key, members = { east-1 = { cert = var.east_etcd.cert, key = var.east_etcd.key } } }
  etcd_user           = ""
  gateway_workers     = 1
  grants              = local.grants
  root_dir            = local.root.east
  user                = ""
  reach               = { trust_root = module.trust_root_host.reach, host = module.east_host.reach }
}

module "east_host" {
  source     = "./machine"
  root_dir   = local.root.east
  files      = module.east.files["east-1"]
  units      = module.east.units["east-1"]
  ends_with  = var.ends_with
  depends_on = [terraform_data.directory]
}

module "west" {
  source              = "../../modules/cluster"
  name                = "west"
  federation          = module.federation
  locality            = "america/west"
  host                = { name = "west-1", address = local.address.west }
  listen_host         = local.address.west
  loopback_host       = local.address.west
  embedded_store_port = var.embedded_store_ports.west
  gateway_workers     = 1
  grants              = local.grants
  forwarders          = { east = ["operator", "trust-admin"] }
  root_dir            = local.root.west
  user                = ""
  bootstrap_token     = isthmus_cluster.west.bootstrap_token
}

module "west_host" {
  source     = "./machine"
  root_dir   = local.root.west
  files      = module.west.files["west-1"]
  units      = module.west.units["west-1"]
  ends_with  = var.ends_with
  depends_on = [terraform_data.directory]
}
