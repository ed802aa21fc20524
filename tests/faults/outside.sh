#!/bin/sh
# outside.sh WHAT PROGRAM...: runs a program in a mount namespace of its own in which something is missing or full.
#   noproc: /proc is an empty folder; nosys: so are /proc, /sys and /dev/shm; shm BYTES: /dev/shm is that small.
# No namespace to be had here (no rights, or no unshare): skipped, by name.
set -u
what=$1
shift
if [ "${OUTSIDE_INSIDE:-}" != 1 ]; then
	for how in -m -rm; do
		if unshare $how true 2> /dev/null; then
			OUTSIDE_INSIDE=1 exec unshare $how "$0" "$what" "$@"
		fi
	done
	echo "SKIPPED: no mount namespace can be made here"
	exit 77
fi
hide() {
	mount -t tmpfs -o "size=$2" none "$1" 2> /dev/null || { echo "SKIPPED: nothing can be mounted over $1 here"; exit 77; }
}
case $what in
noproc) hide /proc 4k ;;
nosys)
	hide /sys 4k
	hide /dev/shm 4k
	hide /proc 4k
	;;
shm)
	hide /dev/shm "$1"
	shift
	;;
*) exit 2 ;;
esac
unset OUTSIDE_INSIDE
exec "$@"
