#!/bin/sh
# Runs every fuzz target of the repository for a while, one after the other.
#
#   scripts/fuzz.sh 60s
#   FUZZPARALLEL=1 scripts/fuzz.sh 60s signing/door    # in one folder, with one worker
#
# Go before 1.27 may end a target that found nothing with "context deadline exceeded" when its
# time is over (golang/go#75804). That alone is no finding: one failure with this message and no other,
# and no input written to testdata/fuzz.
#
# What an input reaches in a server differs from run to run, so that Go would spend most of the time
# on making it shorter; hence -fuzzminimizetime.
set -eu
cd "$(dirname "$0")/.."
time=$1
folder=${2:-.}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

run() { # run DIR NAME: one target; its output is in $scratch/out too
	{
		go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 1s ${FUZZPARALLEL:+-parallel "$FUZZPARALLEL"} "./$1" 2>&1 && echo passed >"$scratch/status"
	} | tee "$scratch/out"
	[ -e "$scratch/status" ] && rm "$scratch/status"
}

inputs() { # inputs DIR NAME: the kept inputs of a target
	ls "$1/testdata/fuzz/$2" 2>/dev/null || true
}

overtime() { # whether all that a failed target had to say is that its time was over
	awk '
		/^--- FAIL: / { failed++; next }
		/^ +context deadline exceeded$/ { late++; next }
		/^FAIL/ || /^exit status 1$/ || /^fuzz: elapsed: / || /^warning: starting with empty corpus$/ || /^[ \t]*$/ { next }
		{ other++ }
		END { exit !(failed == 1 && late == 1 && other == 0) }' "$scratch/out"
}

for file in $(git ls-files "$folder" | grep '_test\.go$' | xargs grep -l '^func Fuzz'); do
	dir=$(dirname "$file")
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		echo "== $name in $dir"
		before=$(inputs "$dir" "$name")
		run "$dir" "$name" && continue
		[ "$before" = "$(inputs "$dir" "$name")" ] && overtime || exit 1
		echo "== $name found nothing: that its time was over was taken for a failure (golang/go#75804)"
	done
done
