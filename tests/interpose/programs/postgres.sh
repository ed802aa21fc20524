# postgres: initdb, a server with its children, pgbench with 4 clients, dump, stop.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: initdb pg_ctl psql pgbench pg_dump runuser
# seconds: 150
d=$(mktemp -d /tmp/hypool-pg-XXXXXX); chmod 755 "$d"; chown postgres "$d"; trap 'rm -rf "$d"' EXIT
cat > "$d/go" <<'END'
cd "$1"; export PGHOST=$1 PGUSER=postgres PGDATABASE=postgres
initdb -D db -A trust -E UTF8 --locale=C.UTF-8 -U postgres > init.log 2>&1 || { cat init.log; exit 1; }
pg_ctl -D db -s -w -l server.log -o "-c listen_addresses='' -k $1 -c fsync=off -c max_parallel_workers_per_gather=2" start || { cat server.log; exit 1; }
pgbench -q -i -s 3 > /dev/null 2>&1; pgbench -n -c 4 -j 2 -t 200 > bench.log 2>&1; grep -E 'number of transactions actually|failed' bench.log | sed 's/ (.*//'
psql -qAt <<'SQL'
create table t as select i, md5(i::text) m, array[i, i * 2] a, jsonb_build_object('k', i % 100, 'v', repeat('x', i % 50)) j from generate_series(1, 100000) i;
create index on t(m); create index on t using gin(j); analyze t;
select count(*), sum(a[2]), max(m) from t; select j->>'k', count(*) from t group by 1 order by 2 desc, 1 limit 2;
select count(*) from t x join t y on x.m = y.m; select string_agg(m, '' order by m) is not null from t;
do $$ begin for i in 1..2000 loop perform regexp_replace(repeat('ab', i % 300), 'b', 'c', 'g'); end loop; end $$;
SQL
pg_dump -t t | grep -v '^--' | grep -v '^\\' | cksum
pg_ctl -D db -s -w -m fast stop && echo stopped; grep -cE 'PANIC|terminated by signal' server.log
exit 0
END
chmod 644 "$d/go"
for p in /usr/lib/postgresql/*/bin; do PATH=$p:$PATH; done; export PATH
runuser -u postgres -- sh "$d/go" "$d"
