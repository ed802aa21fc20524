# redis-server: load by redis-benchmark, background save (fork under load), reload, expiry, lists that grow.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: redis-server redis-cli redis-benchmark
# seconds: 120
sock=$PWD/s
redis-server --port 0 --unixsocket "$sock" --dir "$PWD" --save '' --appendonly yes --daemonize no --io-threads 2 > server.log 2>&1 &
server=$!
for i in $(seq 100); do redis-cli -s "$sock" ping 2> /dev/null | grep -q PONG && break; sleep 0.1; done
redis-benchmark -s "$sock" -n 20000 -r 20000 -d 300 -c 20 -q -t set,get,lpush,sadd,hset,zadd > bench.log 2>&1
redis-cli -s "$sock" bgsave
redis-benchmark -s "$sock" -n 20000 -r 20000 -d 3000 -c 20 -q -t set,mset > bench2.log 2>&1
for i in $(seq 100); do redis-cli -s "$sock" info persistence | grep -q rdb_bgsave_in_progress:0 && break; sleep 0.1; done
redis-cli -s "$sock" info persistence | grep -E 'rdb_last_bgsave_status|aof_last_write_status' | tr -d '\r'
redis-cli -s "$sock" eval 'for i=1,20000 do redis.call("hset", "h" .. i % 100, "f" .. i, string.rep("x", i % 500)) end return redis.call("hlen", "h7")' 0
redis-cli -s "$sock" debug reload 2>&1 | sed 's/.*not allowed.*/OK/'
redis-cli -s "$sock" hget h7 f707 | cksum
redis-cli -s "$sock" memory purge
redis-cli -s "$sock" flushall
redis-cli -s "$sock" dbsize
redis-cli -s "$sock" shutdown nosave
wait $server
echo "server's exit status $?"
