#!/usr/bin/env bash
# arm64 Linux under qemu-user: the trunk and the preload library are built with the cross compiler, and the model streams, the
# threads of tests/model, the unit programs of portable.c and a preloaded program run with pages of 4, 16 and 64 KiB.
#
#   arm64.sh SOURCE BUILD     77: skipped, what is missing is said
#
# qemu-user is lenient about page size: an unmap at 4 KiB that a 16 KiB kernel refuses succeeds here.
set -euo pipefail
source=$1 build=$2
prefix=/usr/aarch64-linux-gnu

for tool in aarch64-linux-gnu-gcc aarch64-linux-gnu-ar qemu-aarch64 meson ninja; do
    command -v "$tool" >/dev/null || {
        echo "SKIPPED: arm64 was not tested: $tool is not installed"
        exit 77
    }
done

mkdir -p "$build"
cat >"$build/cross.ini" <<END
[binaries]
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
[ -f "$build/b/build.ninja" ] || meson setup "$build/b" "$source" --cross-file "$build/cross.ini" \
    -Dtensor=disabled -Dperf=false -Dwerror=true >"$build/setup.log" 2>&1 || {
    tail -n 20 "$build/setup.log"
    exit 1
}
ninja -C "$build/b" interpose/libhypool-preload.so lib/libhypool.a tests/model/model \
    tests/model/concurrent_shipped >"$build/build.log" 2>&1 || {
    grep -A 8 -E 'error|FAILED' "$build/build.log" | head -n 40
    exit 1
}

compile() {
    aarch64-linux-gnu-gcc -std=gnu11 -O2 -Wall -Wextra -Werror -fno-builtin -pthread -I"$source/include" \
        "$source/tests/portability/portable.c" "$@"
}
compile -DPORTABLE_PRELOAD=1 -o "$build/preloaded" "$build/b/interpose/libhypool-preload.so"
compile -DPORTABLE_PRELOAD=0 -o "$build/static" -static "$build/b/lib/libhypool.a"

for page in 4096 16384 65536; do
    emulate=(timeout 60 qemu-aarch64 -cpu max -p "$page" -L "$prefix")
    echo "== pages of $page bytes"
    "${emulate[@]}" -E "LD_LIBRARY_PATH=$build/b/interpose" "$build/preloaded" 2000 | tee "$build/said"
    grep -q "^page $page," "$build/said" # the page size was really that
    "${emulate[@]}" "$build/static" 2000
    "${emulate[@]}" "$build/b/tests/model/model" --streams 8 --ops 1000 --check-every 10
    "${emulate[@]}" "$build/b/tests/model/concurrent_shipped" 4 20 2000
done
echo "arm64: sound with pages of 4, 16 and 64 KiB"
