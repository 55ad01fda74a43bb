#!/bin/sh
# Lays out what an image gets beside its base: executable, native part, program names, licences, one C library the base lacks.
#   sh infra/docker/assemble.sh DIST OUT      writes OUT/root and OUT/state
set -eu
dist=${1:?the directory npm run release wrote} out=${2:?where to write}
here=$(cd "$(dirname "$0")" && pwd)
case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "no executable for $(uname -m)" >&2; exit 1 ;; esac
home=$out/root/usr/lib/isthmus
mkdir -p "$home" "$out/root/usr/bin" "$out/root/usr/share/doc/isthmus" "$out/root/etc/isthmus" "$out/state"
install -m 0755 "$dist/$arch/isthmus" "$home/isthmus"
install -m 0644 "$dist/$arch/koffi.node" "$home/koffi.node"
for program in isthmus isthmus-agent isthmus-gateway isthmus-control-plane isthmus-admin-api isthmus-trust-root; do ln -sf ../lib/isthmus/isthmus "$out/root/usr/bin/$program"; done
for licence in "$here/LICENSE" "$here/../../LICENSE"; do [ ! -e "$licence" ] || install -m 0644 "$licence" "$out/root/usr/share/doc/isthmus/copyright"; done
[ ! -e "$dist/third-party-notices" ] || install -m 0644 "$dist/third-party-notices" "$out/root/usr/share/doc/isthmus/third-party-notices"
# Slim bases have libstdc++, as apt needs it, but no libatomic: it comes from the machine this runs on.
ldd "$home/isthmus" | grep -q 'not found' && { echo "this machine lacks a library: $(ldd "$home/isthmus" | grep 'not found')" >&2; exit 1; }
atomic=$(ldd "$home/isthmus" | sed -n 's/.*libatomic.so.1 => \(\/[^ ]*\) .*/\1/p')
if [ -n "$atomic" ]; then
  folder=$out/root/usr$(dirname "$(realpath "$atomic")" | sed 's/^\/usr//')
  mkdir -p "$folder" && cp -L "$atomic" "$folder/libatomic.so.1"
fi
