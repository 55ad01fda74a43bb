# Three virtual machines on Azure: the trust root, a cluster, and a VM of it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = ">= 4.0" }
    isthmus = { source = "isthmus.example/isthmus/isthmus" }
  }
}

provider "azurerm" {
  features {}
}

locals {
  hosts   = { trust_root = "Standard_B1ms", east = "Standard_B2s", vm = "Standard_B1ms" }
  private = var.private_addresses
  public  = { east = azurerm_public_ip.this["east"].ip_address }
  # Of the machines, so that what goes there comes after them and leaves before.
  reachable = { trust_root = azurerm_linux_virtual_machine.trust_root.public_ip_address, east = azurerm_linux_virtual_machine.east.public_ip_address }
  ids       = { east = azurerm_linux_virtual_machine.east.virtual_machine_id }
}

resource "azurerm_public_ip" "this" {
  for_each            = local.hosts
  name                = "isthmus-${each.key}"
  resource_group_name = var.resource_group
  location            = var.location
  allocation_method   = "Static"
  sku                 = "Standard"
}

resource "azurerm_network_security_group" "this" {
  name                = "isthmus"
  resource_group_name = var.resource_group
  location            = var.location

  security_rule {
    name                       = "gateway"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_port_range          = "*"
    destination_port_range     = "15443"
    source_address_prefix      = "*"
    destination_address_prefix = "*"
  }
  security_rule {
    name                       = "ssh"
    priority                   = 110
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_port_range          = "*"
    destination_port_range     = "22"
    source_address_prefix      = var.admin_cidr
    destination_address_prefix = "*"
  }
}

resource "azurerm_network_interface" "this" {
  for_each            = local.hosts
  name                = "isthmus-${each.key}"
  resource_group_name = var.resource_group
  location            = var.location

  ip_configuration {
    name                          = "only"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Static"
    private_ip_address            = local.private[each.key]
    public_ip_address_id          = azurerm_public_ip.this[each.key].id
  }
}

resource "azurerm_network_interface_security_group_association" "this" {
  for_each                  = local.hosts
  network_interface_id      = azurerm_network_interface.this[each.key].id
  network_security_group_id = azurerm_network_security_group.this.id
}

resource "azurerm_linux_virtual_machine" "trust_root" {
  name                  = "isthmus-trust-root"
  resource_group_name   = var.resource_group
  location              = var.location
  size                  = local.hosts.trust_root
  network_interface_ids = [azurerm_network_interface.this["trust_root"].id]
  admin_username        = "admin-isthmus"
  custom_data           = base64encode(module.federation.user_data)
  admin_ssh_key {
    username   = "admin-isthmus"
    public_key = var.ssh_public_key
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [custom_data]
  }
}

resource "azurerm_linux_virtual_machine" "east" {
  name                  = "isthmus-east"
  resource_group_name   = var.resource_group
  location              = var.location
  size                  = local.hosts.east
  network_interface_ids = [azurerm_network_interface.this["east"].id]
  admin_username        = "admin-isthmus"
  custom_data           = base64encode(module.east.user_data["east-1"])
  admin_ssh_key {
    username   = "admin-isthmus"
    public_key = var.ssh_public_key
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [custom_data]
  }
}

resource "azurerm_linux_virtual_machine" "vm" {
  name                  = "isthmus-vm"
  resource_group_name   = var.resource_group
  location              = var.location
  size                  = local.hosts.vm
  network_interface_ids = [azurerm_network_interface.this["vm"].id]
  admin_username        = "admin-isthmus"
  custom_data           = base64encode(module.vm.user_data)
  admin_ssh_key {
    username   = "admin-isthmus"
    public_key = var.ssh_public_key
  }
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }
  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }
  lifecycle {
    # It acts on the first boot only.
    ignore_changes = [custom_data]
  }
}
