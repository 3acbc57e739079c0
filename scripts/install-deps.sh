#!/bin/sh
# Installs the Debian packages that keysetd needs and that are missing, and says so.
#
#   scripts/install-deps.sh run     what `make run` needs: a C compiler for cgo, SoftHSM
#   scripts/install-deps.sh test    and what the tests drive from outside
#
# It asks for root (sudo) only if something is missing. On systems without apt-get it
# names what to install and fails if that is not there.
set -eu

missing=
want() { # want PACKAGE TEST...: add PACKAGE unless TEST succeeds
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
softhsm() {
	for f in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so \
		/usr/local/lib/softhsm/libsofthsm2.so /opt/homebrew/lib/softhsm/libsofthsm2.so; do
		[ -e "$f" ] && return 0
	done
	return 1
}
p11_kit_client() {
	for f in /usr/lib/*/pkcs11/p11-kit-client.so /usr/lib64/pkcs11/p11-kit-client.so /usr/lib/pkcs11/p11-kit-client.so; do
		[ -e "$f" ] && return 0
	done
	return 1
}

want make command -v make
want gcc command -v gcc
want libc6-dev test -e /usr/include/stdio.h
want softhsm2 softhsm
want curl command -v curl # for the line that `make run` prints
case ${1:-} in
run) ;;
test)
	want softhsm2 command -v softhsm2-util
	want p11-kit command -v p11-kit
	want p11-kit-modules p11_kit_client
	want opensc command -v pkcs11-tool
	want openssl command -v openssl
	want xmlsec1 command -v xmlsec1
	want curl command -v curl
	;;
*)
	echo "usage: $0 run|test" >&2
	exit 2
	;;
esac
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "keysetd needs these packages (by their Debian names), please install them:$missing" >&2
	exit 1
fi
root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "missing packages, and neither root nor sudo to install them; as root run: apt-get install$missing" >&2
		exit 1
	fi
	root=sudo
fi
echo "installing with $root apt-get:$missing"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$root apt-get install -y -qq --no-install-recommends $missing
