#!/bin/sh
# Runs every fuzz target of the repository for a while, one after the other.
#
#   scripts/fuzz.sh 60s
set -eu
cd "$(dirname "$0")/.."
for file in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		echo "== $name in $(dirname "$file")"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" "./$(dirname "$file")"
	done
done
