# redis' own tests, on the server that is installed: types, sorting, dumps, scripts, expiry, transactions, persistence.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: redis-server redis-cli redis-benchmark tclsh
# source: redis
# seconds: 240
# judges itself
cp -a "$SOURCE/tests" "$SOURCE/utils" "$SOURCE/redis.conf" .; mkdir src
for b in redis-server redis-cli redis-benchmark redis-check-aof redis-check-rdb redis-sentinel; do ln -s "$(command -v $b || command -v redis-server)" src/$b; done
timeout 220 tclsh tests/test_helper.tcl --clients 4 --single unit/type/string --single unit/type/incr --single unit/type/list-2 \
	--single unit/type/hash --single unit/type/set --single unit/type/zset --single unit/sort --single unit/protocol \
	--single unit/keyspace --single unit/multi --single unit/expire --single unit/scan --single unit/quit > log 2>&1 || { tail -40 log; exit 1; }
grep -q 'All tests passed without errors' log
echo "$(grep -c 'ok.*]:' log) tests passed"
