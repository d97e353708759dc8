#!/usr/bin/env bash
# Fails if the steps before left a file or a process behind. Called by .ci/run with the scratch directory, which
# the steps had in their environment as CI_SCRATCH, and with what .ci/tree.sh printed before the first step.
set -euo pipefail
scratch=$1 tree=$2

# left prints the processes that were started by a step.
left() {
	local dir
	for dir in /proc/[0-9]*; do
		if grep -qszxF "CI_SCRATCH=$scratch" "$dir/environ"; then
			echo "process ${dir#/proc/}: $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null)"
		fi
	done
}

# forgotten prints everything that should not be there.
forgotten() {
	left
	find "$scratch" -mindepth 2 -maxdepth 3
	diff <(echo "$tree") <(echo "$(bash .ci/tree.sh)") | grep '^[<>]' || true
}

echo "=== leftovers"
# Workers whose owner died a moment ago may still be on their way out.
for _ in $(seq 20); do
	found=$(forgotten)
	if [ -z "$found" ]; then
		echo "none"
		exit 0
	fi
	sleep 0.5
done
echo "left behind by the steps above:" >&2
echo "$found" >&2
exit 1
