# Makes a token of openCryptoki below DIR and keeps its slot daemon until the input ends.
# Arguments: DIR, the token's label, its PIN. It runs as root of namespaces of its own, so that
# nothing of the system's is touched; the paths are compiled into openCryptoki.
set -eu
mkdir -p "$1/state/swtok/TOK_OBJ" "$1/etc" "$1/log/opencryptoki"
printf 'root:x:0:\npkcs11:x:0:root\n' >"$1/group"
printf 'version opencryptoki-3.1\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n' >"$1/etc/opencryptoki.conf"
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mkdir -p /run/lock/opencryptoki/swtok
mount --bind "$1/etc" /etc/opencryptoki
mount --bind "$1/state" /var/lib/opencryptoki
mount --bind "$1/log" /var/log
mount --bind "$1/group" /etc/group
pkcsslotd
trap 'kill "$(cat /run/pkcsslotd.pid)"' EXIT
tries=0
until pkcsconf -s >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || exit 1
	sleep 0.05
done
echo "$2" | pkcsconf -I -c 3 -S 87654321 # what it leaves the factory with
pkcsconf -P -c 3 -S 87654321 -n 12345678
pkcsconf -u -c 3 -S 12345678 -n 11111111
pkcsconf -p -c 3 -U 11111111 -n "$3" # which was to be changed first
echo
echo ready
exec 1>&- 2>&-
read -r _ || :
