#!/bin/sh
# harden_count.sh LIBHYPOOL_PRELOAD LOAD_PAIRS: instructions of a malloc + free pair at each level of hardening, and of the
# peers, by callgrind: exact where a busy machine spoils times. Each figure is the difference of a long and a short run
# over the difference of their counts, so that start-up cancels; the load's loop is in it. CSV on descriptor 1.
# Runs begin at 12000 pairs: a quarantine is full after 1280. Larger blocks tell nothing here: valgrind counts a string
# instruction, with which the C library clears them, once a byte.
set -eu
lib=$1 load=$2
folder=/usr/lib/$(uname -m)-linux-gnu
echo "# commit: $(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown); $(valgrind --version)"
echo "# command: perf/harden_count.sh libhypool-preload.so load-pairs"
echo "allocator,level,bytes,instructions"

count() { # level library size pairs
	HYPOOL_HARDEN=$1 LD_PRELOAD=$2 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$load" count "$3" "$4" 2>&1 |
		sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

row() { # allocator level library
	for size in 16 64 256 1024; do
		low=$(count "$2" "$3" "$size" 12000)
		high=$(count "$2" "$3" "$size" 32000)
		awk -v head="$1,$2,$size" -v a="$low" -v b="$high" 'BEGIN { printf "%s,%.1f\n", head, (b - a) / 20000 }'
	done
}

for level in 0 1 2 3; do row hypool "$level" "$lib"; done
row glibc 0 ""
for peer in jemalloc mimalloc; do
	[ -e "$folder/lib$peer.so.2" ] && row "$peer" 0 "$folder/lib$peer.so.2"
done
