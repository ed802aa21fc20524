#!/bin/sh
# cgroup.sh BYTES PROGRAM...: runs a program in a memory cgroup of its own with that limit, and no swap beyond it. The
# limit is appended to the arguments. No cgroup to be had: skipped, by name.
set -u
bytes=$1
shift
skip() { echo "SKIPPED: $1"; exit 77; }
name=hypool-test-$$
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
old=$(sed -n 's/^[0-9]*:\([a-z,]*,\)\{0,1\}memory\(,[a-z,]*\)\{0,1\}://p' /proc/self/cgroup)
if [ -w "/sys/fs/cgroup/memory$old" ] && mkdir "/sys/fs/cgroup/memory$old/$name" 2> /dev/null; then
	group=/sys/fs/cgroup/memory$old/$name limit=memory.limit_in_bytes swap=memory.memsw.limit_in_bytes count=memory.max_usage_in_bytes
elif [ -w "/sys/fs/cgroup$own" ] && mkdir "/sys/fs/cgroup$own/$name" 2> /dev/null; then
	group=/sys/fs/cgroup$own/$name limit=memory.max swap=memory.swap.max count=memory.peak
else
	skip "no cgroup can be made here"
fi
# shellcheck disable=SC2317
clean() { rmdir "$group" 2> /dev/null; }
trap clean EXIT
{ echo "$bytes" > "$group/$limit"; } 2> /dev/null || skip "this cgroup has no memory controller"
{ if [ $swap = memory.swap.max ]; then echo 0; else echo "$bytes"; fi > "$group/$swap"; } 2> /dev/null
sh -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$group" "$@" "$bytes"
status=$?
[ ! -r "$group/$count" ] || echo "most that was in use: $(cat "$group/$count") bytes"
[ $status -ne 137 ] || echo "the kernel killed it: more memory than the limit"
exit $status
