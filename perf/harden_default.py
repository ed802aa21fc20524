#!/usr/bin/env python3
"""harden_default.py LIBHYPOOL_PRELOAD LOAD_SERVER (--count | ROUNDS [PROGRAM...]): what the default level costs beside level 0.

The bar is 1 % of time. The server load (one thread, 3 million frees and mallocs), python3 and sqlite3 (in memory) run at
level 0 and level 1; ROUNDS beyond the first of several runs may name programs. With --count: instructions in user mode, by callgrind, the
two programs with less to do. Else processor seconds (user
and system, so that the sampler's calls to the kernel are in them), in ROUNDS pairs of runs one right after the other,
the order of the two changing from pair to pair, all on one processor and at the same addresses (no randomisation). Many short
pairs: what disturbs a machine lasts longer than a pair, and so falls on both of its runs. The closing lines, which begin
with "# ", give for each program the median of the pairs' quotients and the range that holds the true median with 95 % of
confidence: percentiles of 4000 bootstrap samples (Efron, 1979), with a fixed seed.
CSV on descriptor 1. Called by hand; docs/design/harden.md tells what came out. valgrind slows programs fifty times,
the sampler's clock goes on as ever: so callgrind sees more samples an instruction than a user's run has.
"""
import ctypes
import os
import random
import re
import statistics
import subprocess
import sys

from harden_programs import PYTHON, measured

SQL = """create table a(id integer primary key, k text, v blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into a select i, 'key' || (i * 7919 % 100003), zeroblob(i % 300) from n;
create index ak on a(k);
select count(*), sum(length(v)), max(k) from a;
select count(*) from a x join a y on x.k = y.k where x.id < y.id;
select k, count(*) c from a group by k order by c desc, k limit 3;
create table j as select json_group_array(json_object('i', id, 'k', k)) as doc from a where id < 20000;
select length(doc), json_extract(doc, '$[100].k') from j;"""


def programs(server, small):
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
    script, sql = PYTHON, SQL
    if small:
        script = re.sub(r"for name in \[.*\]", "for name in ['shutil']", script.replace("20000", "1500"))
        sql = sql.replace("60000", "4000").replace("20000", "1500")
    return {"server": [server, "throughput", "1"], "python3": [python, "-I", "-c", script],
            "sqlite3": ["/usr/bin/sqlite3", ":memory:", sql]}


def environment(lib, level):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LD_PRELOAD", "HYPOOL", "MALLOC_"))}
    return dict(env, LD_PRELOAD=os.path.abspath(lib), HYPOOL_HARDEN=str(level), PYTHONHASHSEED="0")


def counted(command, env):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], env=env,
                          capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def count(ways, lib):
    print("program,level,instructions")
    for program, command in ways.items():
        for level in (0, 1):
            print(f"{program},{level},{counted(command, environment(lib, level))}", flush=True)


def middle(values):
    """The median, and a range that holds the true one with 95 % of confidence."""
    dice = random.Random(1)
    again = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(4000))
    return statistics.median(values), again[99], again[3899]


def stand_still():
    """This process and what it starts: on one processor, at the same addresses each time."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    no_randomisation = 0x0040000
    if ctypes.CDLL(None).personality(no_randomisation) < 0:
        print("# addresses are random here")


def pairs(ways, lib, rounds):
    print("program,round,level0_s,level1_s")
    quotients = {program: [] for program in ways}
    for n in range(1, rounds + 1):
        for program, command in ways.items():
            seconds = [0.0, 0.0]
            for level in (0, 1) if n % 2 else (1, 0):
                seconds[level] = measured(command, environment(lib, level))[0]
            quotients[program].append(seconds[1] / seconds[0])
            print(f"{program},{n},{seconds[0]:.4f},{seconds[1]:.4f}", flush=True)
    for program, values in quotients.items():
        print("# {}: level 1 / level 0 = {:.4f} ({:.4f} to {:.4f}), {} pairs".format(program, *middle(values), rounds))


def main():
    lib, server, how = sys.argv[1], sys.argv[2], sys.argv[3]
    ways = programs(os.path.abspath(server), how == "--count")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    out, quiet = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    sys.stdout = os.fdopen(out, "w", encoding="utf-8")
    os.dup2(quiet, 1)  # what the programs print goes nowhere
    print(f"# kernel: {os.uname().release}; {os.cpu_count()} processors; commit: {commit.stdout.strip() or 'unknown'}")
    ways = {program: ways[program] for program in sys.argv[4:] or ways}
    print(f"# command: perf/harden_default.py libhypool-preload.so load-server {' '.join(sys.argv[3:])}")
    if how == "--count":
        count(ways, lib)
    else:
        stand_still()
        pairs(ways, lib, int(how))


if __name__ == "__main__":
    main()
