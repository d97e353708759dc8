#!/usr/bin/env bash
# Runs all tests with the race detector.
set -euo pipefail
if [ "$(CGO_ENABLED=1 go env CGO_ENABLED)" != 1 ] || ! command -v "$(go env CC)" >/dev/null; then
	echo "the race detector needs a C compiler: $(go env CC) is not there" >&2
	exit 1
fi
CGO_ENABLED=1 go test -race -timeout 8m ./...
