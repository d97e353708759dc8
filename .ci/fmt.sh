#!/usr/bin/env bash
# Fails if a Go file is not formatted.
set -euo pipefail
files=$(gofmt -l . .ci)
if [ -n "$files" ]; then
	echo "not formatted, run gofmt -w on:" >&2
	echo "$files" >&2
	exit 1
fi
