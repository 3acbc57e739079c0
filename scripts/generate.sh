#!/bin/sh
# Makes the Go code of api/v1/keysetd.proto anew, with the tools that scripts/tools/go.mod
# pins. The code is committed: building keysetd needs none of them.
#
#   scripts/generate.sh          lint and generate
#   scripts/generate.sh REF      also refuse what would break callers of the proto at REF, as in v1.0.0
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd "$root/scripts/tools" && go build -o "$bin/" tool)
PATH=$bin:$PATH
cd "$root/api"
buf format --diff --exit-code
buf lint
if [ $# -gt 0 ]; then
	buf breaking --against "$root/.git#ref=$1,subdir=api"
fi
buf generate
