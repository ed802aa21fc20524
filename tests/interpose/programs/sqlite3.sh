# sqlite3: a database built, indexed, joined, vacuumed and checked; full-text search.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: sqlite3
# seconds: 90
sqlite3 t.db <<'END'
pragma cache_size=-40000;
create table a(id integer primary key, k text, v blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
insert into a select i, 'key' || (i * 7919 % 100003), zeroblob(i % 300) from n;
create index ak on a(k);
select count(*), sum(length(v)), max(k) from a;
select count(*) from a x join a y on x.k = y.k where x.id < y.id;
select k, count(*) c from a group by k order by c desc, k limit 3;
delete from a where id % 3 = 0; vacuum;
create table j as select json_group_array(json_object('i', id, 'k', k)) as doc from a where id < 20000;
select length(doc), json_extract(doc, '$[100].k') from j;
with recursive f(a, b, n) as (values (0, 1, 1) union all select b, a + b, n + 1 from f where n < 80) select b from f order by n desc limit 1;
pragma integrity_check;
.dump j
END
sqlite3 :memory: "create virtual table t using fts5(x); with recursive n(i) as (select 1 union all select i+1 from n where i<20000) insert into t select 'word'||(i%97)||' and '||(i%1009) from n; select count(*) from t where t match 'word5 AND 500';"
