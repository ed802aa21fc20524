#!/bin/sh
# threads.sh LIBHYPOOL_PRELOAD LOADS [ROUNDS [PEERS]]: what more threads cost, beside jemalloc, mimalloc, tcmalloc and glibc.
#
# LOADS is a folder with the loads load-server, load-cross (perf/loads, compiled); PEERS the folder of the peers'
# libraries. Runs each load under each allocator in turn, ROUNDS times over, so that what else the machine does falls on
# all alike; threads from 1 to the number of processors in doublings. CSV on descriptor 1: one line a run, ns an
# operation as the load tells them and peak resident KiB. A peer that is not there is named on descriptor 2 and left out.
set -eu
lib=$1 loads=$2 rounds=${3:-5} folder=${4:-/usr/lib/$(uname -m)-linux-gnu}
commit=${COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)}
processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
echo "# machine: ${processor:-$(uname -m)}, $(nproc) processors; kernel: $(uname -r); commit: $commit"
echo "# command: perf/threads.sh libhypool-preload.so LOADS $rounds PEERS"
echo "load,threads,allocator,round,ns_per_op,peak_kib"

run() { # allocator round library: all loads
	threads=1
	while [ "$threads" -le "$(nproc)" ]; do
		one server "$threads" "$1" "$2" "$3" "$loads/load-server" throughput "$threads"
		one scratch.active "$threads" "$1" "$2" "$3" "$loads/load-cross" scratch active "$threads"
		[ "$threads" = 1 ] || one pipe.mixed "$threads" "$1" "$2" "$3" "$loads/load-cross" pipe $((threads / 2)) mixed
		threads=$((threads * 2))
	done
}

one() { # name threads allocator round library command...
	head=$1,$2,$3,$4 library=$5
	shift 5
	LD_PRELOAD=$library "$@" | awk -v OFS=, -v head="$head" '$1 == "result" { print head, $3, $4 }'
}

for round in $(seq "$rounds"); do
	run hypool "$round" "$lib"
	for peer in libjemalloc.so.2 libmimalloc.so.2 libtcmalloc_minimal.so.4; do
		name=${peer#lib}
		name=${name%%[._]*}
		if [ -e "$folder/$peer" ]; then
			run "$name" "$round" "$folder/$peer"
		elif [ "$round" = 1 ]; then
			echo "$peer is not in $folder: left out" >&2
		fi
	done
	run glibc "$round" ""
done
