#!/bin/sh
# harden.sh LIBHYPOOL_PRELOAD SERVER_LOAD [ROUNDS]: what each level of hardening costs, beside jemalloc, mimalloc and glibc.
#
# Runs perf/loads/server (throughput, 1 and 2 threads) under each in turn, ROUNDS times over, so that what else the
# machine does falls on all alike. CSV on descriptor 1: one line a run, ns an operation (a free and a malloc) and peak
# resident KiB, as the load tells them. A peer that is not installed is named on descriptor 2 and left out.
set -eu
lib=$1 load=$2 rounds=${3:-7}
folder=/usr/lib/$(uname -m)-linux-gnu
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
echo "# machine: ${processor:-$(uname -m)}, $(nproc) processors; kernel: $(uname -r); commit: $commit"
echo "# command: perf/harden.sh libhypool-preload.so load-server $rounds"
echo "allocator,level,threads,round,ns_per_op,peak_kib"

run() { # allocator level threads round library
	HYPOOL_HARDEN=$2 LD_PRELOAD=$5 "$load" throughput "$3" | awk -v OFS=, -v head="$1,$2,$3,$4" \
		'$1 == "result" { print head, $3, $4 }'
}

for round in $(seq "$rounds"); do
	for threads in 1 2; do
		for level in 0 1 2 3; do run hypool "$level" "$threads" "$round" "$lib"; done
		for peer in jemalloc mimalloc; do
			if [ -e "$folder/lib$peer.so.2" ]; then
				run "$peer" 0 "$threads" "$round" "$folder/lib$peer.so.2"
			elif [ "$round$threads" = 11 ]; then
				echo "lib$peer.so.2 is not installed: left out" >&2
			fi
		done
		run glibc 0 "$threads" "$round" ""
	done
done
