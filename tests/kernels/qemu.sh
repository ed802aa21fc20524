#!/bin/sh
# tests/kernels/qemu.sh: builds checkkernels for arm64 with the Debian cross compiler and runs every set of it under
# qemu's user-mode emulator (-cpu max: Advanced SIMD, SDOT and SMMLA). Also under a processor without SDOT and SMMLA, to
# see the ladder stop there.
#
#   qemu.sh SOURCE_ROOT BUILD_DIR
#
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user. Exit 77 (skipped), saying so, without them.
set -eu
root=$1
build=$2/kernels-arm64
cross=${CROSS_CC:-aarch64-linux-gnu-gcc}
for tool in "$cross" qemu-aarch64; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "SKIPPED: the arm64 kernels were not tested: $tool is not installed" >&2
		exit 77
	fi
done
mkdir -p "$build"
cd "$root"

flags="-std=gnu11 -D_GNU_SOURCE -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -Ilib -Iinclude -DHYPI_VEC_BITS=128"
# One source, several sets: the same split as lib/kernels/meson.build.
compile() { # set, extra flags, sources
	set_name=$1
	extra=$2
	shift 2
	for source in "$@"; do
		# shellcheck disable=SC2086
		"$cross" $flags $extra -DHYPI_SET="$set_name" -c "lib/kernels/$source.c" -o "$build/$source-$set_name.o"
	done
}
once="block convert_num elementwise_int"
# shellcheck disable=SC2086
compile ref "" $once convert_ref cpu dispatch elementwise_ref gemm_plan gemm_ref probe_ref reduce_ref ternary_ref &
# shellcheck disable=SC2086
compile neon "" $once convert_simd elementwise_simd gemm_simd probe_simd reduce_simd ternary_neon
wait $!
compile dotprod "-march=armv8.2-a+dotprod -DHYPI_DOTPROD=1" probe_simd ternary_neon
compile i8mm "-march=armv8.2-a+dotprod+i8mm -DHYPI_DOTPROD=1 -DHYPI_I8MM=1" ternary_neon
# -O1 for the tests: GCC 12's vectoriser fails on sums of 128-bit floats.
# shellcheck disable=SC2086
"$cross" $flags -O1 -static -o "$build/checkkernels" tests/kernels/*.c "$build"/*.o -lm

listed=$(qemu-aarch64 -cpu max "$build/checkkernels" --list)
for set_name in neon dotprod i8mm; do
	if ! echo "$listed" | grep -q "^$set_name .* here$" || echo "$listed" | grep -q "^$set_name .*not here$"; then
		echo "FAILED: the emulator should have $set_name" >&2
		exit 1
	fi
done
qemu-aarch64 -cpu max "$build/checkkernels" --set neon
qemu-aarch64 -cpu max "$build/checkkernels" --set dotprod --family ternary
qemu-aarch64 -cpu max "$build/checkkernels" --set i8mm --family ternary
# Cortex-A57 has neither SDOT nor SMMLA.
if ! qemu-aarch64 -cpu cortex-a57 "$build/checkkernels" --list | grep -q "^dotprod .*not here$"; then
	echo "FAILED: dotprod was detected on a processor without it" >&2
	exit 1
fi
qemu-aarch64 -cpu cortex-a57 "$build/checkkernels" --family cpu
