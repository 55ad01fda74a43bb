# Three virtual machines on one libvirt host: the trust root, a cluster, and a VM of it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    libvirt = { source = "dmacvicar/libvirt", version = "~> 0.8.0" }
    isthmus = { source = "isthmus.example/isthmus/isthmus" }
  }
}

provider "libvirt" {
  uri = var.libvirt_uri
}

locals {
  private = { trust_root = "10.81.0.10", east = "10.81.0.11", vm = "10.81.0.12" }
  public  = { east = local.private.east }
  # Of the machines, so that what goes there comes after them and leaves before.
  reachable = { trust_root = libvirt_domain.trust_root.network_interface[0].addresses[0], east = libvirt_domain.east.network_interface[0].addresses[0] }
  ids       = { east = libvirt_domain.east.id }
}

resource "libvirt_network" "this" {
  name      = "isthmus"
  mode      = "nat"
  addresses = ["10.81.0.0/24"]
  dhcp {
    enabled = true
  }
}

resource "libvirt_volume" "debian" {
  name   = "isthmus-debian-12.qcow2"
  source = var.image
}

resource "libvirt_volume" "disk" {
  for_each       = local.private
  name           = "isthmus-${each.key}.qcow2"
  base_volume_id = libvirt_volume.debian.id
  size           = 8 * 1024 * 1024 * 1024
}

resource "libvirt_cloudinit_disk" "trust_root" {
  name      = "isthmus-trust-root.iso"
  user_data = module.federation.user_data
}

resource "libvirt_domain" "trust_root" {
  name      = "isthmus-trust-root"
  memory    = 1024
  vcpu      = 1
  cloudinit = libvirt_cloudinit_disk.trust_root.id
  disk {
    volume_id = libvirt_volume.disk["trust_root"].id
  }
  network_interface {
    network_id     = libvirt_network.this.id
    hostname       = "trust-root"
    addresses      = [local.private.trust_root]
    wait_for_lease = true
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [cloudinit]
  }
}

resource "libvirt_cloudinit_disk" "east" {
  name      = "isthmus-east.iso"
  user_data = module.east.user_data["east-1"]
}

resource "libvirt_domain" "east" {
  name      = "isthmus-east"
  memory    = 2048
  vcpu      = 1
  cloudinit = libvirt_cloudinit_disk.east.id
  disk {
    volume_id = libvirt_volume.disk["east"].id
  }
  network_interface {
    network_id     = libvirt_network.this.id
    hostname       = "east"
    addresses      = [local.private.east]
    wait_for_lease = true
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [cloudinit]
  }
}

resource "libvirt_cloudinit_disk" "vm" {
  name      = "isthmus-vm.iso"
  user_data = module.vm.user_data
}

resource "libvirt_domain" "vm" {
  name      = "isthmus-vm"
  memory    = 1024
  vcpu      = 1
  cloudinit = libvirt_cloudinit_disk.vm.id
  disk {
    volume_id = libvirt_volume.disk["vm"].id
  }
  network_interface {
    network_id     = libvirt_network.this.id
    hostname       = "vm"
    addresses      = [local.private.vm]
    wait_for_lease = true
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [cloudinit]
  }
}
