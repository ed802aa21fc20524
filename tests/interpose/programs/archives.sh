# tar, gzip, bzip2, xz, zstd: round trips; the compressed bytes must be the same.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: tar gzip bzip2 xz zstd
# seconds: 90
mkdir d; i=0; while [ $i -lt 60 ]; do i=$((i + 1)); seq $i $((i * 700)) > d/f$i; done
tar --sort=name --mtime=2020-01-01 --owner=0 --group=0 -cf a.tar d; cksum < a.tar
for z in "gzip -n" "bzip2" "xz -T2" "zstd -q -T2 -9"; do
	$z -c a.tar > a.z; cksum < a.z; $z -dc < a.z | cksum
done
mkdir e; tar -xf a.tar -C e; diff -r d e/d && echo same
