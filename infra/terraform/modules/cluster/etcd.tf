# etcd on the hosts that are its members: Debian's package, told by a drop-in what it is part of, and TLS everywhere.

locals {
  etcd_endpoints = [for name in sort(keys(var.etcd_members)) : "https://${var.etcd_members[name].address}:${var.etcd_members[name].client_port}"]
  etcd_dir       = "${local.etc}/etcd"

  etcd_environment = { for name, member in var.etcd_members : name => {
    ETCD_NAME                        = name
    ETCD_DATA_DIR                    = "${var.root_dir}/var/lib/etcd/isthmus"
    ETCD_LISTEN_CLIENT_URLS          = "https://${member.listen_host}:${member.client_port}"
    ETCD_ADVERTISE_CLIENT_URLS       = "https://${member.address}:${member.client_port}"
    ETCD_LISTEN_PEER_URLS            = "https://${member.listen_host}:${member.peer_port}"
    ETCD_INITIAL_ADVERTISE_PEER_URLS = "https://${member.address}:${member.peer_port}"
    ETCD_INITIAL_CLUSTER             = join(",", [for other in sort(keys(var.etcd_members)) : "${other}=https://${var.etcd_members[other].address}:${var.etcd_members[other].peer_port}"])
    ETCD_INITIAL_CLUSTER_STATE       = "new"
    ETCD_INITIAL_CLUSTER_TOKEN       = local.trust_domain
    ETCD_CLIENT_CERT_AUTH            = "true"
    ETCD_TRUSTED_CA_FILE             = "${local.etcd_dir}/ca.pem"
    ETCD_CERT_FILE                   = "${local.etcd_dir}/member.pem"
    ETCD_KEY_FILE                    = "${local.etcd_dir}/member-key.pem"
    ETCD_PEER_CLIENT_CERT_AUTH       = "true"
    ETCD_PEER_TRUSTED_CA_FILE        = "${local.etcd_dir}/ca.pem"
    ETCD_PEER_CERT_FILE              = "${local.etcd_dir}/member.pem"
    ETCD_PEER_KEY_FILE               = "${local.etcd_dir}/member-key.pem"
    # etcd compacts nothing of its own accord.
    ETCD_AUTO_COMPACTION_MODE      = "periodic"
    ETCD_AUTO_COMPACTION_RETENTION = "1h"
  } }

  etcd_files = { for name, environment in local.etcd_environment : name => [
    { path = "${local.etc}/etcd.env", content = join("", [for key, value in environment : "${key}=${value}\n"]), permissions = "0644", owner = "" },
    { path = "${local.systemd}/etcd.service.d/20-isthmus.conf", content = "# Written by Terraform.\n[Service]\nEnvironmentFile=${local.etc}/etcd.env\n", permissions = "0644", owner = "" },
    { path = "${local.etcd_dir}/ca.pem", content = var.etcd_tls.ca, permissions = "0644", owner = "" },
    { path = "${local.etcd_dir}/member.pem", content = var.etcd_tls.members[name].cert, permissions = "0644", owner = "" },
    { path = "${local.etcd_dir}/member-key.pem", content = var.etcd_tls.members[name].key, permissions = "0600", owner = var.etcd_user },
  ] }
}
