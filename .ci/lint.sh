#!/usr/bin/env bash
# Runs the linters, which .ci/tools pins and builds, and the project's own rules about its source. What each linter is
# for stands in CONTRIBUTING.md.
set -euo pipefail
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd .ci/tools && go build -o "$bin/" tool ./lint)

echo "staticcheck"
"$bin/staticcheck" -checks all ./...
echo "lint (errorlint, errcheck, noctx, nilness, unusedwrite)"
go vet -vettool="$bin/lint" -errcheck.exclude="$PWD/.ci/errcheck.txt" ./...
echo "misspell"
find . -name .git -prune -o \( -name '*.go' -o -name '*.md' -o -name '*.sh' \) -not -path '*/testdata/*' -print0 |
	xargs -0 "$bin/misspell" -error
echo "rules of the source"
go test -count=1 -run '^Test(Source|Docs)' ./integration
