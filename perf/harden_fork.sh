#!/bin/sh
# harden_fork.sh LIBHYPOOL_PRELOAD INTERPOSE_FORK [ROUNDS]: what a fork costs beside 64 idle threads that have allocated, under
# glibc, the peers, and hypool with each of the settings that might make it cheaper (docs/design/harden.md).
# CSV on descriptor 1: one line a run of 1000 forks. A peer that is not installed is left out.
set -eu
lib=$1 program=$2 rounds=${3:-3}
folder=/usr/lib/$(uname -m)-linux-gnu
echo "# kernel: $(uname -r); $(nproc) processors; commit: $(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)"
echo "# command: perf/harden_fork.sh libhypool-preload.so interpose_fork $rounds"
echo "allocator,setting,round,us_per_fork"

run() { # allocator setting round library mode
	HYPOOL_CONF=$2 LD_PRELOAD=$4 "$program" "$5" | sed -n "s/.* threads: \([0-9]*\) us each/$1,$2,$3,\1/p"
}

for round in $(seq "$rounds"); do
	run glibc "" "$round" "" cost
	for peer in jemalloc mimalloc; do
		if [ -e "$folder/lib$peer.so.2" ]; then run "$peer" "" "$round" "$folder/lib$peer.so.2" cost; fi
	done
	for setting in "" guard:0 arena:1M huge_pages:1 decay:0; do run hypool "$setting" "$round" "$lib" cost; done
	run hypool-trimmed "" "$round" "$lib" cost-trimmed
done
