#!/usr/bin/env bash
# musl: both libraries and the command are built with musl-gcc, and portable.c runs linked shared, linked static, with the
# preload library's objects in a static program, and preloaded into a program that does not know hypool.
#
#   musl.sh SOURCE BUILD     77: skipped, what is missing is said
set -euo pipefail
source=$1 build=$2

for tool in musl-gcc meson ninja readelf; do
    command -v "$tool" >/dev/null || {
        echo "SKIPPED: musl was not tested: $tool is not installed"
        exit 77
    }
done

# The kernel's headers, which musl does not bring, and nothing else of the other C library's.
kernel=$build/kernel
mkdir -p "$kernel"
ln -sfn /usr/include/linux "$kernel/linux"
ln -sfn /usr/include/asm-generic "$kernel/asm-generic"
ln -sfn "/usr/include/$(gcc -dumpmachine)/asm" "$kernel/asm"
cat >"$build/musl.ini" <<END
[binaries]
c = 'musl-gcc'
[built-in options]
c_args = ['-idirafter', '$kernel']
END
[ -f "$build/b/build.ninja" ] || CC=musl-gcc meson setup "$build/b" "$source" --native-file "$build/musl.ini" \
    -Dtensor=disabled -Dperf=false -Dtests=false -Dwerror=true >"$build/setup.log" 2>&1 || {
    tail -n 20 "$build/setup.log"
    exit 1
}
ninja -C "$build/b" >"$build/build.log" 2>&1 || {
    grep -A 8 -E 'error|FAILED' "$build/build.log" | head -n 40
    exit 1
}

compile() {
    musl-gcc -std=gnu11 -O2 -Wall -Wextra -Werror -fno-builtin -I"$source/include" \
        "$source/tests/portability/portable.c" "$@"
}
preload=$build/b/interpose/libhypool-preload.so
compile -DPORTABLE_PRELOAD=0 -o "$build/shared" "$build/b/lib/libhypool.so" "-Wl,-rpath,$build/b/lib"
compile -DPORTABLE_PRELOAD=0 -o "$build/static" -static "$build/b/lib/libhypool.a"
compile -DPORTABLE_PRELOAD=1 -o "$build/preloaded" "$preload" "-Wl,-rpath,$build/b/interpose"
shopt -s dotglob
compile -DPORTABLE_PRELOAD=1 -o "$build/static-malloc" -static "$preload".p/*.o
printf '%s\n' '#include <stdio.h>' '#include <stdlib.h>' \
    'int main(void) { for (int i = 0; i < 5000; i++) free(realloc(malloc(i), i + 9)); return puts("done") < 0; }' \
    >"$build/plain.c"
musl-gcc -fno-builtin -o "$build/plain" "$build/plain.c"

for program in shared static preloaded static-malloc; do
    echo "== $program"
    timeout 60 "$build/$program"
done
echo "== preloaded into a plain program"
readelf -d "$preload" | grep NEEDED >"$build/needed"
if grep -v '\[libc.so\]' "$build/needed"; then
    echo "the preload library needs more than musl"
    exit 1
fi
HYPOOL_CONF=stats:true LD_PRELOAD=$preload "$build/plain" >"$build/said" 2>&1
grep -q '^done$' "$build/said"
grep -Eq '^ +allocations +[0-9]{4,}' "$build/said"
echo "musl: sound"
