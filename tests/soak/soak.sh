#!/bin/sh
# soak.sh LIBHYPOOL_PRELOAD SOAK PLUGIN HOURS: the long soak: runs of five minutes, each with a seed and a level of hardening
# of its own, until the time is over. Each run's line goes to descriptor 1; the first that fails ends it, and says with what.
# The programs are made by a build: tests/soak/soak_preloaded, tests/soak/soak_linked and tests/interpose's plugin.
set -eu
lib=$1 program=$2 plugin=$3 hours=$4
end=$(($(date +%s) + hours * 3600))
seed=$(date +%s)
while [ "$(date +%s)" -lt "$end" ]; do
	for level in 1 2 3 1; do
		echo "level $level, seed $seed: $(date -u +%H:%M:%S)"
		HYPOOL_HARDEN=$level LD_PRELOAD=$lib "$program" 300 "$seed" "$plugin" || {
			echo "failed: HYPOOL_HARDEN=$level LD_PRELOAD=$lib $program 300 $seed $plugin"
			exit 1
		}
		seed=$((seed + 1))
	done
done
