# sort, awk, sed, grep, join, uniq, xargs, find over a file of a million lines.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: sort awk sed grep join xargs find
# seconds: 90
awk 'BEGIN { srand(7); for (i = 0; i < 1000000; i++) print int(rand() * 1000000), "text" i % 1009 }' > f
sort --parallel=2 -S 40M f | cksum; sort -k2,2 -k1,1n f | uniq -c -f1 | cksum
awk '{ a[$2] += $1; b[$1 % 5003] = b[$1 % 5003] substr($2, 5, 1) } END { n = 0; for (k in a) n += a[k]; for (k in b) m += length(b[k]); print n, m }' f
sed -E 's/([0-9]+) text([0-9]*)7/\2-\1/; /99/d' f | cksum; grep -cE '([0-9])\1\1' f
sort f | head -20000 > g; sort -k1,1 g > h; join h h | wc -l
mkdir t; seq 500 | xargs -P 3 -I{} sh -c 'echo {} > t/{}'; find t -type f -size -2 -exec cat {} + | sort -n | cksum
