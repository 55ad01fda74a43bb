output "pem" {
  description = "Files of the identity for the provider block: certificates of the federation, SVID and key. Unknown before the login is done, so that the provider asks nothing before."
  value = {
    ca   = "${terraform_data.login.output.pem}/ca.pem"
    svid = "${terraform_data.login.output.pem}/svid.pem"
    key  = "${terraform_data.login.output.pem}/key.pem"
  }
}
