#!/usr/bin/env bash
# Runs all tests.
set -euo pipefail
go clean -testcache
go test ./...
