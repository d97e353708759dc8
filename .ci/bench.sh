#!/usr/bin/env bash
# Checks the benchmark, which is a module of its own: that it is tidy, compiles for Linux, and for systems that can only
# show its results, has nothing for the linters to say, and passes its tests, which measure two contestants for a moment.
# "cd bench && go run ." is what measures.
set -euo pipefail
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd .ci/tools && go build -o "$bin/" tool ./lint)
exclude=$PWD/.ci/errcheck.txt

cd bench
go mod tidy -diff
echo "go vet, also for darwin/arm64 and with profiles"
go vet ./...
GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet ./...
go vet -tags profile ./harness
echo "staticcheck"
"$bin/staticcheck" -checks all ./...
echo "lint (errorlint, errcheck, noctx, nilness, unusedwrite)"
go vet -vettool="$bin/lint" -errcheck.exclude="$exclude" ./...
go test -count=1 -timeout 120s ./...
