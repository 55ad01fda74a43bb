#!/bin/sh
# Builds kube-apiserver, kube-controller-manager and helm from their Go modules into a directory, for
# tests/interop/kubernetes.test.ts and tests/interop/helm.test.ts. Takes up to an hour on two cores and some gigabytes of
# Go's caches, so CI does not do it.
#   sh tests/interop/kubernetes/build.sh DIRECTORY
#   ISTHMUS_KUBERNETES=DIRECTORY node --test tests/interop/kubernetes.test.ts tests/interop/helm.test.ts
set -eu
version=v1.34.2
helm=v3.19.2
out=$(mkdir -p "${1:?a directory to build into}" && cd "$1" && pwd)
shift
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
cd "$module"
go mod init throwaway >/dev/null 2>&1
dir=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
# Kubernetes' own sums; those of its staging modules, which stand in its own tree there, come on top as they are fetched.
cp "$dir/go.sum" go.sum && chmod u+w go.sum
# Its go.mod names its staging modules as v0.0.0, replaced by folders; as modules they are v0.X.Y of the same release.
staging=v0.${version#v1.}
{
  printf 'module throwaway\n\n'
  grep '^go ' "$dir/go.mod"
  printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
  sed -n 's/^[[:space:]]*\(k8s\.io\/[a-z0-9-]*\) v0\.0\.0\( .*\)*$/\1/p' "$dir/go.mod" | sort -u | while read -r name; do printf '\t%s => %s %s\n' "$name" "$name" "$staging"; done
  printf ')\n'
} > go.mod
printf '//go:build tools\n\npackage tools\n\nimport (\n\t_ "k8s.io/kubernetes/cmd/kube-apiserver"\n\t_ "k8s.io/kubernetes/cmd/kube-controller-manager"\n)\n' > tools.go
for program in kube-apiserver kube-controller-manager; do
  GOFLAGS=-mod=mod go build "$@" -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$out/$program" "k8s.io/kubernetes/cmd/$program"
done
GOBIN=$out go install "$@" "helm.sh/helm/v3/cmd/helm@$helm"
