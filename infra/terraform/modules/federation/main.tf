# The trust root of a federation on a host of its own, and how clusters are admitted to it.

locals {
  etc    = "${var.root_dir}/etc/isthmus"
  state  = "${var.root_dir}/var/lib/isthmus/trust-root"
  socket = "${local.state}/admin.sock"

  config = merge(
    {
      federation      = var.trust_domain
      stateDir        = local.state
      keyKind         = var.key_kind
      listen          = { host = var.listen_host, port = var.port }
      intermediateTtl = var.intermediate_ttl
      operators       = [for operator in var.operators : { for key, value in operator : key => value if value != null }]
      health          = { host = var.loopback_host, port = 7001 }
    },
    var.key_passphrase == null ? {} : { keyPassphraseFile = "${local.etc}/trust-root.passphrase" },
    var.key_pkcs11 == null ? {} : { keys = { pkcs11 = { for key, value in { module = var.key_pkcs11.module, token = var.key_pkcs11.token, serial = var.key_pkcs11.serial, pinFile = "${local.etc}/trust-root.pin" } : key => value if value != null } } },
  )

  files = concat(
    [{ path = "${local.etc}/trust-root.yaml", content = yamlencode(local.config), permissions = "0644", owner = "" }],
    var.key_passphrase == null ? [] : [{ path = "${local.etc}/trust-root.passphrase", content = var.key_passphrase, permissions = "0600", owner = var.user }],
    var.key_pkcs11 == null ? [] : [{ path = "${local.etc}/trust-root.pin", content = "${var.key_pkcs11.pin}\n", permissions = "0600", owner = var.user }],
  )
  units = ["isthmus-trust-root"]
}

module "cloud_init" {
  source              = "../cloud-init"
  files               = local.files
  units               = local.units
  packages            = var.packages
  ssh_authorized_keys = var.ssh_authorized_keys
}
