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
  ca_certificate_file     = "${terraform_data.operator.output.pem}/ca.pem"
  client_certificate_file = "${terraform_data.operator.output.pem}/svid.pem"
  client_key_file         = "${terraform_data.operator.output.pem}/key.pem"
}

# The operator's token goes from the host that makes it into the login, and is in no state.
resource "terraform_data" "operator" {
  triggers_replace = [var.federation, module.east.operator_id]
  input            = { home = local.root.operator, pem = "${local.root.operator}/pem" }

  provisioner "local-exec" {
    command = "sh '${path.module}/../../modules/cluster/hand-over.sh'"
    environment = {
      FROM = module.east_host.reach
      MAKE = module.east.operator_token
      TO   = "sh '${abspath("${path.module}/host")}' run '${self.input.home}'"
      TAKE = "export ISTHMUS_HOME='${self.input.home}' && isthmus login --token - --server ${module.east.gateways[0]} && isthmus context export --out '${self.input.pem}'"
    }
  }
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
