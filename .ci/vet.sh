#!/usr/bin/env bash
# Vets all packages for every kind of system that has code of its own. Only Linux is tested; this sees to it that the
# others compile. Cgo is off, as it is whenever Go compiles for another system.
set -euo pipefail
for target in linux/amd64 linux/arm64 darwin/arm64 freebsd/amd64 windows/amd64; do
	echo "go vet for $target"
	GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go vet ./...
done
