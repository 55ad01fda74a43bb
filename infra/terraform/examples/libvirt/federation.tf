# The federation, one cluster and one VM out of the modules; how hosts come to be is in main.tf.

locals {
  packages = { for name in ["isthmus", "isthmus-trust-root", "isthmus-control-plane", "isthmus-admin-api", "isthmus-gateway", "isthmus-agent"] : name => { url = "${var.release.base_url}/${name}_${var.release.version}_amd64.deb", sha256 = var.release.sha256[name] } }
  # By root: the modules' `ssh_authorized_keys` allow it.
  reach = { for name, address in local.reachable : name => "ssh -o StrictHostKeyChecking=accept-new root@${address}" }
}

module "federation" {
  source              = "../../modules/federation"
  trust_domain        = var.trust_domain
  address             = local.private.trust_root
  packages            = [local.packages["isthmus"], local.packages["isthmus-trust-root"]]
  ssh_authorized_keys = [var.ssh_public_key]
}

module "east" {
  source              = "../../modules/cluster"
  name                = "east"
  federation          = module.federation
  locality            = var.locality
  host                = { name = "east-1", address = local.private.east }
  public_addresses    = ["${local.public.east}:15443"]
  grants              = [for role in ["operator", "trust-admin"] : { who = "spiffe://east.${var.trust_domain}/operator/terraform", role = role }]
  packages            = [for name in ["isthmus", "isthmus-control-plane", "isthmus-admin-api", "isthmus-gateway"] : local.packages[name]]
  ssh_authorized_keys = [var.ssh_public_key]
  reach               = { trust_root = local.reach.trust_root, host = local.reach.east }
  host_id             = local.ids.east
}

module "operator" {
  source         = "../../modules/operator"
  reach          = local.reach.east
  operator_token = module.east.operator_token
  operator_id    = module.east.operator_id
  server         = module.east.gateways[0]
  directory      = abspath("${path.root}/.operator")
}

provider "isthmus" {
  endpoints               = module.east.gateways
  federation              = var.trust_domain
  cluster                 = module.east.name
  ca_certificate_file     = module.operator.pem.ca
  client_certificate_file = module.operator.pem.svid
  client_key_file         = module.operator.pem.key
}

resource "isthmus_service" "payments" {
  cluster   = module.east.name
  namespace = "shop"
  name      = "payments"
  ports     = [{ name = "http", port = 80, protocol = "http" }]
}

resource "isthmus_export" "payments" {
  cluster   = isthmus_service.payments.cluster
  namespace = isthmus_service.payments.namespace
  name      = isthmus_service.payments.name
  consumers = var.consumers
}

resource "isthmus_join_token" "vm" {
  cluster  = module.east.name
  agent    = "vm-1"
  role     = "agent"
  services = ["${isthmus_service.payments.namespace}/${isthmus_service.payments.name}"]
}

module "vm" {
  source              = "../../modules/vm-agent"
  name                = "vm-1"
  server              = module.east.gateways[0]
  join_token          = isthmus_join_token.vm.token
  address             = local.private.vm
  locality            = var.locality
  workloads           = { payments-1 = { namespace = "shop", service = "payments", ports = { http = 8080 }, health_check = { kind = "http", path = "/healthz" } } }
  packages            = [local.packages["isthmus"], local.packages["isthmus-agent"]]
  ssh_authorized_keys = [var.ssh_public_key]
}
