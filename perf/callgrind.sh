#!/bin/sh
# Instructions of one malloc+free pair, for each size under each allocator, by callgrind: exact, and free of the machine's
# noise. Callgrind does not replace malloc, so LD_PRELOAD decides as usual. Each figure is the difference of a long and a
# short run over the difference of their counts, so that start-up cancels; the load's own loop (empty) is subtracted.
#
#   perf/callgrind.sh [BUILD_DIR] [RESULT_CSV]
#
# BUILD_DIR has libhypool-preload.so (without it only the peers are counted). HYPOOL_* options pass through.
# SIZES and EXTRA_LIB ("name=path") in the environment replace the sizes and add a library.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${1:-}
result=${2:-$here/results/callgrind-$(date -u +%Y-%m-%d).csv}
sizes=${SIZES:-16 64 256 1K 4K 32K 256K 1M 2M 8M 64M}
work=$(mktemp -d "${TMPDIR:-/tmp}/hypool-callgrind.XXXXXX")
trap 'rm -rf "$work"' EXIT

command -v valgrind >/dev/null || { echo "callgrind.sh: valgrind is not installed" >&2; exit 2; }
cc -O2 "$here/loads/pairs.c" -o "$work/pairs" -lpthread -ldl
cc -O2 "$here/loads/batch.c" -o "$work/batch" -lpthread -ldl

library() { # soname -> path, or nothing
	/sbin/ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }'
}

# instructions LIBRARY COMMAND...: the whole run's count, or nothing when the run failed
instructions() {
	preload=$1
	shift
	LD_PRELOAD="$preload" valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 |
		sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# per_op LIBRARY SHORT LONG OPS COMMAND...: (count(LONG) - count(SHORT)) / (OPS * (LONG - SHORT)); the count is the last argument
per_op() {
	preload=$1 short=$2 long=$3 ops=$4
	shift 4
	low=$(instructions "$preload" "$@" "$short")
	high=$(instructions "$preload" "$@" "$long")
	[ -n "$low" ] && [ -n "$high" ] || { echo failed; return; }
	awk -v a="$low" -v b="$high" -v n="$(((long - short) * ops))" 'BEGIN { printf "%.1f", (b - a) / n }'
}

subtract() {
	[ "$1" = failed ] && { echo failed; return; }
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", a - b }'
}

hypool=
[ -n "$build" ] && hypool=$(find "$(cd "$build" && pwd)" -name libhypool-preload.so | head -n 1)
{
	echo "# machine: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
	echo "# kernel: $(uname -sr)"
	echo "# commit: $(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)"
	echo "# command: perf/callgrind.sh"
	echo "# date: $(date -u '+%Y-%m-%d %H:%M UTC')"
	echo "# valgrind: $(valgrind --version); loop overhead of the load subtracted"
	echo "allocator,row,instructions"
} >"$result"

empty=$(per_op "$(library libc.so.6)" 10000 60000 1 "$work/pairs" count-empty 64)
for entry in glibc="$(library libc.so.6)" jemalloc="$(library libjemalloc.so.2)" \
	mimalloc="$(library libmimalloc.so.2)" tcmalloc="$(library libtcmalloc_minimal.so.4)" \
	hypool="$hypool" ${EXTRA_LIB:-}; do
	name=${entry%%=*} path=${entry#*=}
	[ -n "$path" ] || { echo "callgrind.sh: $name: no library, left out" >&2; continue; }
	for size in $sizes; do
		count=$(subtract "$(per_op "$path" 2000 12000 1 "$work/pairs" count "$size")" "$empty")
		echo "$name,pair.$size,$count" | tee -a "$result"
	done
	for order in lifo random; do
		count=$(per_op "$path" 20 120 1000 "$work/batch" count 1000 64 "$order")
		echo "$name,batch.1000.64.$order,$count" | tee -a "$result"
	done
done
