#!/usr/bin/env bash
# Real programs on glibc's malloc, on jemalloc and on hypool, side by side; then hypool's own statistics.
#
#   perf/demo.sh BUILD [ROUNDS]
#
# BUILD is a build's folder (build/release). Each program runs ROUNDS times (3) on each allocator, in turns, so that
# what the machine does meanwhile falls on all of them; the table shows medians. Time is wall time, memory the largest
# resident size that the kernel saw (ru_maxrss). A demonstration, not the benchmark: that is perf/compare.
# The run_ functions are called by the name of their program, which shellcheck does not follow:
# shellcheck disable=SC2317
set -euo pipefail

build=$(cd "$1" && pwd)
rounds=${2:-3}
runner=$build/perf/load-runner
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
broken=0

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# ---- the allocators: name and what to preload

libc=$(ldd /bin/sh | awk '$1 ~ /^libc\.so/ { print $3 }')
[ -n "$libc" ] || libc=$(find /lib /lib64 -name 'libc.so.6' 2>/dev/null | head -n 1)
jemalloc=$(find /usr/lib /usr/local/lib -name 'libjemalloc.so.2' 2>/dev/null | head -n 1)
hypool=$build/interpose/libhypool-preload.so
[ -f "$hypool" ] || die "$hypool is missing: build it first"
[ -x "$runner" ] || die "$runner is missing: configure the build with -Dperf=true"

names=(glibc)
# Preloaded too, because some programs (Debian's redis-server) are linked to jemalloc.
declare -A library=([glibc]=$libc [hypool]=$hypool)
if [ -n "$jemalloc" ]; then
    names+=(jemalloc)
    library[jemalloc]=$jemalloc
fi
names+=(hypool)

# ---- the programs: each prepares its input once, and then runs on a library, leaving "seconds KiB" in $work/measure

python=$(python3 -c 'import sys; print(sys.executable)')

cat >"$work/objects.py" <<'END'
import json
import random

random.seed(1)
rows = [{"id": i, "name": "row %d" % i, "values": [random.random() for _ in range(8)]} for i in range(60000)]
for _ in range(3):
    rows = json.loads(json.dumps(rows))
words = {}
for row in rows:
    for word in row["name"].split() * 4:
        words[word] = words.get(word, 0) + 1
print(len(rows), len(words), sum(len(str(row)) for row in rows[::7]))
END

cat >"$work/queries.sql" <<'END'
PRAGMA cache_size = -200000;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n REAL);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 400000)
  INSERT INTO t SELECT i, 'name ' || (i * 7919 % 100003), i * 0.5 FROM c;
CREATE INDEX byname ON t(name);
SELECT count(*), sum(n) FROM t WHERE name LIKE 'name 1%';
SELECT name, count(*) FROM t GROUP BY name ORDER BY 2 DESC, 1 LIMIT 3;
END

make_source() {
    local i
    printf 'struct s { int a, b, c; double d[4]; };\n'
    for ((i = 0; i < 400; i++)); do
        cat <<END
int f$i(struct s *s, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) { s[i].a += s[i].b * $i; s[i].d[i & 3] += s[i].c; sum ^= s[i].a; }
    switch (n & 7) { case 0: return sum + $i; case 1: return sum * 3; case 5: return f$i(s, n - 1); }
    return n > $i ? sum : -sum;
}
END
    done
}
make_source >"$work/big.c"

# What the runner measured of a command, or the command's log and a failure.
measured() {
    local lib=$1
    shift
    if "$runner" "$work/report" "$lib" "$@" >"$work/log" 2>&1; then
        awk '{ printf "%.3f %d\n", $1 / 1e9, $4 }' "$work/report" >"$work/measure"
    else
        return 1
    fi
}

run_python() { measured "$1" "$python" "$work/objects.py"; }
run_gcc() { measured "$1" gcc -O2 -c -o "$work/big.o" "$work/big.c"; }
run_sqlite() { measured "$1" sqlite3 -init "$work/queries.sql" :memory: .quit; }
# shellcheck disable=SC2016 # the inner shell expands $0
run_load() { measured "$1" sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "$0" throughput 4; done' "$build/perf/load-server"; }

# The server runs on the library; the client that loads it does not. Time is the client's, memory the server's.
run_redis() {
    local socket=$work/redis.sock server start end
    "$runner" "$work/report" "$1" redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no \
        --dir "$work" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        redis-cli -s "$socket" ping >/dev/null 2>&1 && break
        sleep 0.05
    done
    start=$(date +%s%N)
    if ! redis-benchmark -s "$socket" -n 150000 -r 100000 -d 256 -P 8 -c 20 -q -t set,get,lpush,sadd,zadd \
        >>"$work/log" 2>&1; then
        redis-cli -s "$socket" shutdown nosave >/dev/null 2>&1 || kill "$server" 2>/dev/null || true
        wait "$server" || true
        return 1
    fi
    end=$(date +%s%N)
    redis-cli -s "$socket" shutdown nosave >/dev/null 2>&1 || true
    wait "$server" || return 1
    awk -v ns=$((end - start)) '{ printf "%.3f %d\n", ns / 1e9, $4 }' "$work/report" >"$work/measure"
}

# program, its command, what it does
programs=(
    "python:$python:python3: objects, JSON, strings"
    "gcc:gcc:gcc -O2: 400 functions"
    "sqlite:sqlite3:sqlite3: 400,000 rows, index, group"
    "redis:redis-server:redis-server under redis-benchmark"
    "load:$build/perf/load-server:12 x server load, 4 threads"
)

# ---- the table

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

printf '%-38s' "median of $rounds: seconds, peak MiB"
for name in "${names[@]}"; do printf ' %18s' "$name"; done
printf '\n'

for entry in "${programs[@]}"; do
    IFS=: read -r program command about <<<"$entry"
    printf '%-38s' "$about"
    if ! command -v "$command" >/dev/null 2>&1; then
        printf ' not installed\n'
        continue
    fi
    for name in "${names[@]}"; do : >"$work/$program.$name"; done
    for ((round = 0; round < rounds; round++)); do
        for name in "${names[@]}"; do
            if "run_$program" "${library[$name]}"; then
                cat "$work/measure" >>"$work/$program.$name"
            else
                broken=1
                cp "$work/log" "$work/failed"
                printf '\n%s failed on %s; its last lines:\n' "$program" "$name"
                tail -n 5 "$work/failed"
            fi
        done
    done
    for name in "${names[@]}"; do
        if [ -s "$work/$program.$name" ]; then
            seconds=$(cut -d' ' -f1 "$work/$program.$name" | median)
            kib=$(cut -d' ' -f2 "$work/$program.$name" | median)
            printf ' %18s' "$(awk -v s="$seconds" -v k="$kib" 'BEGIN { printf "%.2f s %6.1f", s, k / 1024 }')"
        else
            printf ' %18s' failed
        fi
    done
    printf '\n'
done

# ---- what hypool says of itself

printf '\nHYPOOL_CONF=stats:true LD_PRELOAD=%s python3 ...\n' "${hypool##*/}"
HYPOOL_CONF=stats:true LD_PRELOAD=$hypool "$python" "$work/objects.py" 2>&1 >/dev/null | tee "$work/stats"
[ -s "$work/stats" ] || die "hypool printed no statistics: the program did not run on it"
exit "$broken"
