# Three instances on AWS: the trust root, a cluster, and a VM of it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws     = { source = "hashicorp/aws", version = ">= 5.0" }
    isthmus = { source = "isthmus.example/isthmus/isthmus" }
  }
}

data "aws_subnet" "this" {
  id = var.subnet_id
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"] # Debian's own account
  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

locals {
  private = var.private_addresses
  public  = { east = aws_eip.this["east"].public_ip }
  # Of the instances, so that what goes there comes after them and leaves before.
  reachable = { trust_root = aws_eip_association.trust_root.public_ip, east = aws_eip_association.east.public_ip }
  ids       = { east = aws_instance.east.id }
}

resource "aws_eip" "this" {
  for_each = toset(["trust_root", "east"])
  domain   = "vpc"
}

resource "aws_security_group" "this" {
  name_prefix = "isthmus-"
  vpc_id      = data.aws_subnet.this.vpc_id

  ingress {
    description = "the gateway's one open port"
    from_port   = 15443
    to_port     = 15443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
  ingress {
    description = "the hosts among themselves"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    self        = true
  }
  ingress {
    description = "SSH"
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = [var.admin_cidr]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "trust_root" {
  ami                         = data.aws_ami.debian.id
  instance_type               = "t3.small"
  subnet_id                   = var.subnet_id
  private_ip                  = local.private.trust_root
  vpc_security_group_ids      = [aws_security_group.this.id]
  user_data                   = module.federation.user_data
  associate_public_ip_address = true
  metadata_options {
    http_tokens = "required"
  }
  root_block_device {
    encrypted = true
  }
  lifecycle {
    # It acts on the first boot only; the root's key is not thrown away for a newer image.
    ignore_changes = [user_data, ami]
  }
}

resource "aws_instance" "east" {
  ami                         = data.aws_ami.debian.id
  instance_type               = "t3.medium"
  subnet_id                   = var.subnet_id
  private_ip                  = local.private.east
  vpc_security_group_ids      = [aws_security_group.this.id]
  user_data                   = module.east.user_data["east-1"]
  associate_public_ip_address = true
  metadata_options {
    http_tokens = "required"
  }
  root_block_device {
    encrypted = true
  }
  lifecycle {
    ignore_changes = [user_data, ami]
  }
}

resource "aws_instance" "vm" {
  ami                         = data.aws_ami.debian.id
  instance_type               = "t3.small"
  subnet_id                   = var.subnet_id
  private_ip                  = local.private.vm
  vpc_security_group_ids      = [aws_security_group.this.id]
  user_data                   = module.vm.user_data
  associate_public_ip_address = true
  metadata_options {
    http_tokens = "required"
  }
  root_block_device {
    encrypted = true
  }
  lifecycle {
    ignore_changes = [user_data, ami]
  }
}

resource "aws_eip_association" "trust_root" {
  allocation_id = aws_eip.this["trust_root"].id
  instance_id   = aws_instance.trust_root.id
}

resource "aws_eip_association" "east" {
  allocation_id = aws_eip.this["east"].id
  instance_id   = aws_instance.east.id
}
