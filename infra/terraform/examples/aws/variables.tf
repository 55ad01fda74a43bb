variable "trust_domain" {
  description = "The federation's trust domain, such as acme.example."
  type        = string
}

variable "release" {
  description = "Where the Debian packages of a release lie, and their checksums as in its SHA256SUMS."
  type        = object({ base_url = string, version = string, sha256 = map(string) })
}

variable "ssh_public_key" {
  description = "Public key of whoever runs Terraform: the tokens of the first joins go over SSH, from host to host."
  type        = string
}

variable "consumers" {
  description = "Clusters that may call payments."
  type        = list(string)
  default     = ["*"]
}

variable "locality" {
  description = "Region and zone as callers know them."
  type        = string
  default     = "eu-central-1/a"
}

variable "subnet_id" {
  description = "Public subnet for the hosts."
  type        = string
}

variable "admin_cidr" {
  description = "Where Terraform and people log in from."
  type        = string
}

variable "private_addresses" {
  description = "Free addresses of the subnet: each host's configuration names others before they are there."
  type        = object({ trust_root = string, east = string, vm = string })
}
