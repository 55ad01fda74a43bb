# One cluster on plain hosts: control plane, admin API and gateway on one, its etcd on others or on the same.

locals {
  etc          = "${var.root_dir}/etc/isthmus"
  state        = "${var.root_dir}/var/lib/isthmus"
  systemd      = "${var.root_dir}/etc/systemd/system"
  trust_domain = "${var.name}.${var.federation.trust_domain}"
  is_etcd      = length(var.etcd_members) > 0

  ports = { control_plane = 7100, control_plane_health = 7101, admin_api = 7200, admin_api_health = 7201, gateway_health = 7301 }

  control_plane_socket = "${local.state}/control-plane/admin.sock"
  gateway_name         = "${var.host.name}-gateway"
  bootstrap_token      = "${local.etc}/bootstrap-token"
  gateway_token        = "${local.state}/gateway-token/token"
  public_addresses     = length(var.public_addresses) > 0 ? var.public_addresses : ["${var.host.address}:${var.gateway_port}"]

  control_plane_config = {
    cluster            = var.name
    federation         = var.federation.trust_domain
    stateDir           = "${local.state}/control-plane"
    locality           = var.locality
    gateways           = local.public_addresses
    listen             = { host = var.listen_host, port = local.ports.control_plane }
    trustRoot          = { address = var.federation.address }
    bootstrapTokenFile = local.bootstrap_token
    store              = local.store
    health             = { host = var.loopback_host, port = local.ports.control_plane_health }
  }
  store = { for key, value in {
    kind      = local.is_etcd ? "etcd" : "embedded"
    port      = var.embedded_store_port
    endpoints = local.is_etcd ? local.etcd_endpoints : null
    tls       = local.is_etcd ? { ca = "${local.etc}/store/ca.pem", cert = "${local.etc}/store/client.pem", key = "${local.etc}/store/client-key.pem" } : null
  } : key => value if value != null }

  gateway_config = merge(
    {
      stateDir      = "${local.state}/gateway"
      server        = { address = "${var.host.address}:${local.ports.control_plane}" }
      joinTokenFile = local.gateway_token
      network       = var.name
      locality      = var.locality
      listen        = { host = var.listen_host, port = var.gateway_port }
      # What comes through the one open port and is the federation's own.
      reserved = {
        control-plane = "${var.host.address}:${local.ports.control_plane}"
        store         = "${var.host.address}:${local.ports.control_plane}"
        trust-root    = var.federation.address
        admin         = "${var.loopback_host}:${local.ports.admin_api}"
      }
      health = { host = var.loopback_host, port = local.ports.gateway_health }
    },
    var.gateway_workers == null ? {} : { workers = var.gateway_workers },
  )

  admin_api_config = {
    cluster            = var.name
    federation         = var.federation.trust_domain
    stateDir           = "${local.state}/admin-api"
    controlPlaneSocket = local.control_plane_socket
    trustRoot          = { address = var.federation.address }
    listen             = { host = var.loopback_host, port = local.ports.admin_api }
    grants             = [for grant in var.grants : { for key, value in grant : key => value if value != null }]
    oidc               = local.oidc
    forwarders         = [for cluster, roles in var.forwarders : { cluster = cluster, roles = roles }]
    health             = { host = var.loopback_host, port = local.ports.admin_api_health }
  }

  oidc = [for issuer in var.oidc : { for key, value in {
    name     = issuer.name
    issuer   = issuer.issuer
    audience = issuer.audience
    jwksUrl  = issuer.jwks_url
    discover = issuer.discover
    rules    = [for rule in issuer.rules : { for key, value in rule : key => value if value != null }]
  } : key => value if value != null }]

  # Each unit waits for what it needs, so that a host may boot long before its token comes.
  wait = {
    control-plane = "until test -s ${local.bootstrap_token} -o -s ${local.state}/control-plane/authority/authority.state; do sleep 1; done"
    admin-api     = "until test -S ${local.control_plane_socket}; do sleep 1; done"
    gateway       = "until test -s ${local.gateway_token} -o -s ${local.state}/gateway/identity.state; do sleep 1; done"
  }
  drop_ins = [for unit, command in local.wait : {
    path = "${local.systemd}/isthmus-${unit}.service.d/20-wait.conf"
    content = join("\n", [
      "# Written by Terraform.",
      "[Unit]",
      "StartLimitIntervalSec=0",
      "[Service]",
      "ExecStartPre=/bin/sh -c '${command}'",
      "TimeoutStartSec=infinity",
      "",
    ])
    permissions = "0644"
    owner       = ""
  }]
  # The gateway is beside its control plane: its token never leaves the host.
  gateway_token_unit = {
    path = "${local.systemd}/isthmus-gateway-token.service"
    content = join("\n", concat(
      [
        "# Written by Terraform.",
        "[Unit]",
        "Description=Join token for the gateway of this host",
        "ConditionPathExists=!${local.state}/gateway/identity.state",
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
      ],
      var.user == "" ? [] : ["User=${var.user}"],
      [
        "StateDirectory=isthmus/gateway-token",
        "StateDirectoryMode=0700",
        "UMask=0077",
        "TimeoutStartSec=infinity",
        "ExecStart=/bin/sh -c '${local.make_gateway_token}'",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
      ],
    ))
    permissions = "0644"
    owner       = ""
  }
  make_gateway_token = "until test -S ${local.control_plane_socket}; do sleep 1; done; until isthmus token create ${local.gateway_name} --role gateway --ttl 10m --socket ${local.control_plane_socket} > ${local.gateway_token}.new; do sleep 1; done; mv ${local.gateway_token}.new ${local.gateway_token}"

  host_files = concat(
    [
      { path = "${local.etc}/control-plane.yaml", content = yamlencode(local.control_plane_config), permissions = "0644", owner = "" },
      { path = "${local.etc}/gateway.yaml", content = yamlencode(local.gateway_config), permissions = "0644", owner = "" },
      { path = "${local.etc}/admin-api.yaml", content = yamlencode(local.admin_api_config), permissions = "0644", owner = "" },
      local.gateway_token_unit,
    ],
    local.drop_ins,
    var.bootstrap_token == null ? [] : [{ path = local.bootstrap_token, content = "${var.bootstrap_token}\n", permissions = "0600", owner = var.user }],
    local.is_etcd ? [
      { path = "${local.etc}/store/ca.pem", content = var.etcd_tls.ca, permissions = "0644", owner = "" },
      { path = "${local.etc}/store/client.pem", content = var.etcd_tls.client_cert, permissions = "0644", owner = "" },
      { path = "${local.etc}/store/client-key.pem", content = var.etcd_tls.client_key, permissions = "0600", owner = var.user },
    ] : [],
  )

  files = merge(
    { for name in keys(var.etcd_members) : name => local.etcd_files[name] },
    { (var.host.name) = concat(lookup(local.etcd_files, var.host.name, []), local.host_files) },
  )
  units = merge(
    { for name in keys(var.etcd_members) : name => ["etcd"] },
    { (var.host.name) = concat(contains(keys(var.etcd_members), var.host.name) ? ["etcd"] : [], ["isthmus-control-plane", "isthmus-gateway-token", "isthmus-gateway", "isthmus-admin-api"]) },
  )
  addresses = merge({ for name, member in var.etcd_members : name => member.address }, { (var.host.name) = var.host.address })
}

module "cloud_init" {
  source              = "../cloud-init"
  for_each            = local.units
  files               = local.files[each.key]
  units               = each.value
  packages            = each.key == var.host.name ? var.packages : []
  system_packages     = contains(each.value, "etcd") ? ["etcd-server"] : []
  ssh_authorized_keys = var.ssh_authorized_keys
}
