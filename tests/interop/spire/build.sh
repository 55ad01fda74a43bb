#!/bin/sh
# Builds spire-server and spire-agent from their Go module into a directory, for tests/interop/spire.test.ts. Takes up
# to half an hour and a gigabyte of Go's caches, so CI does not do it.
#   sh tests/interop/spire/build.sh DIRECTORY && ISTHMUS_SPIRE=DIRECTORY node --test tests/interop/spire.test.ts
set -eu
version=v1.10.4
out=$(mkdir -p "${1:?a directory to build into}" && cd "$1" && pwd)
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
cd "$module"
go mod init throwaway >/dev/null 2>&1
dir=$(go mod download -json "github.com/spiffe/spire@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
# SPIRE's own sums, from the module that was just checked itself: so that what it stands on is what its authors built with.
cp "$dir/go.sum" go.sum && chmod u+w go.sum
printf 'module throwaway\n\ngo 1.22.2\n\nrequire github.com/spiffe/spire %s\n' "$version" > go.mod
printf '//go:build tools\n\npackage tools\n\nimport (\n\t_ "github.com/spiffe/spire/cmd/spire-agent"\n\t_ "github.com/spiffe/spire/cmd/spire-server"\n)\n' > tools.go
for program in spire-server spire-agent; do
  GOFLAGS=-mod=mod go build -o "$out/$program" "github.com/spiffe/spire/cmd/$program"
done
