# An agent on a VM: its configuration, its one-time token, the workloads beside it, and the zone it answers for.

locals {
  etc        = "${var.root_dir}/etc/isthmus"
  state      = "${var.root_dir}/var/lib/isthmus/agent"
  systemd    = "${var.root_dir}/etc/systemd/system"
  token_file = "${local.etc}/agent.token"

  config = { for key, value in {
    stateDir      = local.state
    name          = var.name
    server        = { address = var.server }
    joinTokenFile = local.token_file
    network       = var.network == null ? var.name : var.network
    locality      = var.locality
    inbound       = { host = var.address }
    outbound      = local.outbound
    identity      = var.call_as == null ? null : { callAs = var.call_as }
    dns           = var.dns_port == null ? null : { host = "127.0.0.1", port = var.dns_port }
    workloadsDir  = "${local.etc}/workloads.d"
    health        = { host = var.loopback_host, port = 7401 }
  } : key => value if value != null }

  outbound = { for key, value in {
    all          = var.address_range != null
    addressRange = var.address_range
    listeners    = [for service, listener in var.listeners : { service = service, host = listener.host, port = listener.port, protocol = listener.protocol }]
  } : key => value if value != null }

  workloads = { for instance, workload in var.workloads : instance => { for key, value in {
    kind      = "workload"
    namespace = workload.namespace
    service   = workload.service
    instance  = instance
    ports     = workload.ports
    host      = workload.host
    weight    = workload.weight
    labels    = workload.labels
    healthCheck = workload.health_check == null ? null : { for key, value in {
      kind       = workload.health_check.kind
      path       = workload.health_check.path
      port       = workload.health_check.port
      intervalMs = workload.health_check.interval_ms
      timeoutMs  = workload.health_check.timeout_ms
    } : key => value if value != null }
  } : key => value if value != null } }

  wait = "until test -s ${local.token_file} -o -s ${local.state}/identity.state; do sleep 1; done"

  files = concat(
    [
      { path = "${local.etc}/agent.yaml", content = yamlencode(local.config), permissions = "0644", owner = "" },
      {
        path        = "${local.systemd}/isthmus-agent.service.d/20-wait.conf"
        content     = "# Written by Terraform.\n[Service]\nExecStartPre=/bin/sh -c '${local.wait}'\nTimeoutStartSec=infinity\n"
        permissions = "0644"
        owner       = ""
      },
    ],
    var.join_token == null ? [] : [{ path = local.token_file, content = "${var.join_token}\n", permissions = "0600", owner = var.user }],
    [for instance, workload in local.workloads : { path = "${local.etc}/workloads.d/${instance}.yaml", content = yamlencode(workload), permissions = "0644", owner = "" }],
    !var.resolver ? [] : [{
      path        = "${var.root_dir}/etc/systemd/resolved.conf.d/isthmus.conf"
      content     = "# Written by Terraform.\n[Resolve]\nDNS=127.0.0.1:${coalesce(var.dns_port, 5353)}\nDomains=~clusterset.local\n"
      permissions = "0644"
      owner       = ""
    }],
  )
  units = concat(["isthmus-agent"], var.resolver ? ["systemd-resolved"] : [])
}

module "cloud_init" {
  source              = "../cloud-init"
  files               = local.files
  units               = local.units
  packages            = var.packages
  system_packages     = var.resolver ? ["systemd-resolved"] : []
  ssh_authorized_keys = var.ssh_authorized_keys
}
