#!/usr/bin/env bash
# Compiles every package.
set -euo pipefail
go build ./...
