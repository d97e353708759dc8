#!/usr/bin/env bash
# Checks the operator's tool, which is a module of its own, so that nobody who imports the libraries gets what it draws
# with: that it is tidy, compiles for every kind of system, has nothing for the linters to say, and passes its tests, also
# under the race detector.
set -euo pipefail
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd .ci/tools && go build -o "$bin/" tool ./lint)
exclude=$PWD/.ci/errcheck.txt

cd cmd/unref
go mod tidy -diff
for target in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do
	echo "go vet for $target"
	GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go vet ./...
done
echo "staticcheck"
"$bin/staticcheck" -checks all ./...
echo "lint (errorlint, errcheck, noctx, nilness, unusedwrite)"
go vet -vettool="$bin/lint" -errcheck.exclude="$exclude" ./...
go test -count=1 -timeout 120s ./...
go test -race -count=1 -timeout 120s ./...
