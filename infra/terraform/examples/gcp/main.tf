# Three instances on Google Cloud: the trust root, a cluster, and a VM of it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    google  = { source = "hashicorp/google", version = ">= 5.0" }
    isthmus = { source = "isthmus.example/isthmus/isthmus" }
  }
}

provider "google" {
  project = var.project
  region  = var.region
  zone    = var.zone
}

locals {
  hosts   = { trust_root = "e2-small", east = "e2-medium", vm = "e2-small" }
  private = { for name, address in google_compute_address.private : name => address.address }
  public  = { east = google_compute_address.public["east"].address }
  # Of the instances, so that what goes there comes after them and leaves before.
  reachable = { for name, instance in { trust_root = google_compute_instance.trust_root, east = google_compute_instance.east } : name => instance.network_interface[0].access_config[0].nat_ip }
  ids       = { east = google_compute_instance.east.instance_id }
}

resource "google_compute_address" "private" {
  for_each     = local.hosts
  name         = "isthmus-${replace(each.key, "_", "-")}-private"
  address_type = "INTERNAL"
  subnetwork   = var.subnetwork
}

resource "google_compute_address" "public" {
  for_each = local.hosts
  name     = "isthmus-${replace(each.key, "_", "-")}-public"
}

resource "google_compute_firewall" "gateway" {
  name          = "isthmus-gateway"
  network       = var.network
  source_ranges = ["0.0.0.0/0"]
  target_tags   = ["isthmus-gateway"]
  allow {
    protocol = "tcp"
    ports    = ["15443"]
  }
}

resource "google_compute_firewall" "hosts" {
  name        = "isthmus-hosts"
  network     = var.network
  source_tags = ["isthmus"]
  target_tags = ["isthmus"]
  allow {
    protocol = "tcp"
  }
}

resource "google_compute_firewall" "ssh" {
  name          = "isthmus-ssh"
  network       = var.network
  source_ranges = [var.admin_cidr]
  target_tags   = ["isthmus"]
  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}

# Ubuntu's image brings cloud-init, Debian's for this cloud does not.
data "google_compute_image" "this" {
  family  = "ubuntu-2404-lts-amd64"
  project = "ubuntu-os-cloud"
}

resource "google_compute_instance" "trust_root" {
  name         = "isthmus-trust-root"
  machine_type = local.hosts.trust_root
  zone         = var.zone
  tags         = ["isthmus"]
  metadata     = { user-data = module.federation.user_data }
  boot_disk {
    initialize_params {
      image = data.google_compute_image.this.self_link
    }
  }
  network_interface {
    subnetwork = var.subnetwork
    network_ip = google_compute_address.private["trust_root"].address
    access_config {
      nat_ip = google_compute_address.public["trust_root"].address
    }
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [metadata["user-data"], boot_disk]
  }
}

resource "google_compute_instance" "east" {
  name         = "isthmus-east"
  machine_type = local.hosts.east
  zone         = var.zone
  tags         = ["isthmus", "isthmus-gateway"]
  metadata     = { user-data = module.east.user_data["east-1"] }
  boot_disk {
    initialize_params {
      image = data.google_compute_image.this.self_link
    }
  }
  network_interface {
    subnetwork = var.subnetwork
    network_ip = google_compute_address.private["east"].address
    access_config {
      nat_ip = google_compute_address.public["east"].address
    }
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [metadata["user-data"], boot_disk]
  }
}

resource "google_compute_instance" "vm" {
  name         = "isthmus-vm"
  machine_type = local.hosts.vm
  zone         = var.zone
  tags         = ["isthmus"]
  metadata     = { user-data = module.vm.user_data }
  boot_disk {
    initialize_params {
      image = data.google_compute_image.this.self_link
    }
  }
  network_interface {
    subnetwork = var.subnetwork
    network_ip = google_compute_address.private["vm"].address
    access_config {
      nat_ip = google_compute_address.public["vm"].address
    }
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [metadata["user-data"], boot_disk]
  }
}
