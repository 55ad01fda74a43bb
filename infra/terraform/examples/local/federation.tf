# What the federation itself is told: by the trust root's socket that west may join, the rest through east's admin API.

terraform {
  required_version = ">= 1.9"
  required_providers {
    isthmus = {
      source = "isthmus.example/isthmus/isthmus"
    }
  }
}

# Known before there is any cluster, so it can let the first one in.
provider "isthmus" {
  alias             = "trust_root"
  trust_root_socket = module.federation.socket
}

# Not known until the login is done: Terraform asks east nothing before.
provider "isthmus" {
  endpoints               = module.east.gateways
  federation              = var.federation
  cluster                 = module.east.name
  ca_certificate_file     = module.operator.pem.ca
  client_certificate_file = module.operator.pem.svid
  client_key_file         = module.operator.pem.key
}

module "operator" {
  source         = "../../modules/operator"
  reach          = module.east_host.reach
  operator_token = module.east.operator_token
  operator_id    = module.east.operator_id
  server         = module.east.gateways[0]
  directory      = local.root.operator
  shell          = "sh '${abspath("${path.module}/host")}' run '${local.root.operator}'"
}

# East is let in by a token that goes from host to host; west by one that Terraform has made and writes into the host's files.
resource "isthmus_cluster" "west" {
  provider   = isthmus.trust_root
  name       = "west"
  depends_on = [module.trust_root_host]
}

resource "isthmus_peer" "west" {
  cluster    = module.east.name
  peer       = isthmus_cluster.west.name
  depends_on = [module.west_host]
}

resource "isthmus_service" "ledger" {
  cluster    = isthmus_peer.west.peer
  namespace  = "shop"
  name       = "ledger"
  ports      = [{ name = "http", port = 80, protocol = "http" }]
  depends_on = [module.west_host]
}

resource "isthmus_export" "ledger" {
  cluster   = isthmus_service.ledger.cluster
  namespace = isthmus_service.ledger.namespace
  name      = isthmus_service.ledger.name
  consumers = var.ledger_consumers
}

resource "isthmus_join_token" "ledger" {
  cluster  = isthmus_service.ledger.cluster
  agent    = "ledger"
  role     = "agent"
  services = ["${isthmus_service.ledger.namespace}/${isthmus_service.ledger.name}"]
}

resource "isthmus_join_token" "vm" {
  cluster  = module.east.name
  agent    = "vm-1"
  role     = "agent"
  services = ["shop/web"]
}
