# Membership: the trust root admits the cluster before it has an admin API, so the token goes from host to host.

locals {
  admit  = replace(var.federation.admission.admit, "CLUSTER", var.name)
  remove = replace(var.federation.admission.remove, "CLUSTER", var.name)
  # Whole or not at all: the control plane waits for the file and reads it at once.
  take = join(" && ", concat(
    ["umask 077", "mkdir -p ${local.etc}", "cat > ${local.bootstrap_token}.new"],
    var.user == "" ? [] : ["chown ${var.user}: ${local.bootstrap_token}.new"],
    ["mv ${local.bootstrap_token}.new ${local.bootstrap_token}"],
  ))
}

# The token is in no state and no plan: one host makes it, the other reads it.
resource "terraform_data" "admission" {
  count            = var.reach == null ? 0 : 1
  triggers_replace = [var.name, var.federation.trust_domain, var.host_id]
  input = {
    script = "${path.module}/hand-over.sh"
    from   = var.reach.trust_root
    to     = var.reach.host
    remove = local.remove
  }

  lifecycle {
    # Not a validation of the variable: the host's files would then wait for what waits for the host.
    precondition {
      condition     = var.bootstrap_token == null
      error_message = "bootstrap_token: give it or reach, not both."
    }
  }

  provisioner "local-exec" {
    command     = "sh '${self.input.script}'"
    environment = { FROM = self.input.from, MAKE = local.admit, TO = self.input.to, TAKE = local.take }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "sh '${self.input.script}'"
    environment = { FROM = self.input.from, MAKE = self.input.remove, LIMIT_SECONDS = "60" }
  }
}
