#!/usr/bin/env bash
# Fails if a go.mod or go.sum is not what "go mod tidy" makes of it, in every module of the repository.
set -euo pipefail
find . -name go.mod -not -path '*/testdata/*' | sort | while read -r mod; do
	(cd "$(dirname "$mod")" && go mod tidy -diff)
done
