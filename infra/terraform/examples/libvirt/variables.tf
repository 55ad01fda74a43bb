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
  description = "Where the hosts are, as callers know it."
  type        = string
  default     = "office/lab"
}

variable "libvirt_uri" {
  description = "Where libvirt listens."
  type        = string
  default     = "qemu:///system"
}

variable "image" {
  description = "Debian 12 cloud image (genericcloud, qcow2): a path or URL."
  type        = string
  default     = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
}
