# SQLite's fuzz checker on the databases that come with it; and before it SQLite built from its source by tclsh, make and
# gcc: the generator joins all into one file of 8 MB, which gcc then compiles.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: make cc tclsh ar
# source: sqlite3
# seconds: 300
# judges itself
cp -a "$SOURCE" s; cd s
./configure --disable-tcl --disable-readline CFLAGS='-O1 -w' > ../log 2>&1 || { tail -20 ../log; exit 1; }
make sqlite3.c fuzzcheck > ../log 2>&1 || { tail -20 ../log; exit 1; }
for n in 1 2 3 4 5 6 7 8; do
	./fuzzcheck test/fuzzdata$n.db > ../log.$n 2>&1 || { tail -20 ../log.$n; exit 1; }
done
sed -n 's/.* 0 errors out of \([0-9]*\) tests.*/\1/p' ../log.* | awk '{ n += $1 } END { if (NR == 8) print n, "tests passed" }'
