#!/usr/bin/env bash
# Runs every fuzz target of every package for FUZZTIME, 3 s by default. New ones are found by themselves.
set -euo pipefail

# fuzz runs one target. When the time is up while an input is being tried, the go command may call that a failure,
# "context deadline exceeded", though no input failed. An input that did fail is always written down.
fuzz() {
	local out
	if out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-3s}" "$1" 2>&1); then
		tail -n 1 <<<"$out"
	elif grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input\|panic:' <<<"$out"; then
		echo "time is up"
	else
		echo "$out" >&2
		return 1
	fi
}

# A variable and not a pipe, so that packages that do not compile are a failure.
list=$(go test -list '^Fuzz' ./...)
awk '/^Fuzz/ { names[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }' <<<"$list" |
	while read -r package target; do
		echo "fuzz $package $target"
		fuzz "$package" "$target"
	done
