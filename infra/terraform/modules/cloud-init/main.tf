# One host's files and units as cloud-init user-data: what the other modules say a host holds, written down once.

locals {
  owned = [for file in var.files : file if file.owner != ""]

  # What fetches them is in no minimal image.
  system_packages = distinct(concat(length(var.packages) == 0 ? [] : ["ca-certificates", "curl"], var.system_packages))

  fetch = flatten([
    for i, package in var.packages : [
      "curl -fsSL --retry 10 --retry-connrefused --proto '=https' -o \"$work/${i}.deb\" '${package.url}'",
      "echo '${package.sha256}  '\"$work/${i}.deb\" | sha256sum -c --quiet -",
    ]
  ])
  install = length(var.packages) == 0 ? [] : concat(
    ["work=$(mktemp -d)"],
    local.fetch,
    ["DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \"$work\"/*.deb", "rm -rf \"$work\""],
  )
  # One script that stops at the first thing that fails: nothing starts on a host that is half set up.
  first_boot = join("\n", concat(
    ["set -eu"],
    local.install,
    [for file in local.owned : "chown '${file.owner}:' '${file.path}'"],
    ["systemctl daemon-reload"],
    [for unit in var.units : "systemctl enable ${unit}.service"],
    # Units wait for what they need by themselves, some for a token that comes later; the boot does not wait for them.
    [for unit in var.units : "systemctl restart --no-block ${unit}.service"],
    [""],
  ))

  user_data = "#cloud-config\n${yamlencode(merge(
    length(local.system_packages) == 0 ? {} : { package_update = true },
    length(local.system_packages) == 0 ? {} : { packages = local.system_packages },
    # Images forbid it by default, and `reach` acts as root.
    { for key, value in { disable_root = false, ssh_authorized_keys = var.ssh_authorized_keys } : key => value if length(var.ssh_authorized_keys) > 0 },
    {
      write_files = [for file in var.files : { path = file.path, content = file.content, permissions = file.permissions, owner = "root:root" }]
      runcmd      = [["sh", "-c", local.first_boot]]
    },
  ))}"
}
