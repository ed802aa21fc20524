"""The table of rows: each load with its arguments, each real program with how to run it and its input.

A row's name is what --rows matches. A load prints its own result line; a program is measured from outside.
"""

import os
import shutil
from dataclasses import dataclass, field

from harness import inputs


@dataclass
class Row:
    """kind: load or program. server: the command is a server; clients are run against it, then it is told to stop."""
    name: str
    group: str
    command: list
    kind: str = "load"
    rounds_at_most: int = 1000
    environment: dict = field(default_factory=dict)
    clients: list = field(default_factory=list)
    ready: str = ""
    why_not: str = ""
    check_output: bool = True


# (group, program, arguments)
_PAIRS = ["16", "64", "256", "1K", "4K", "32K", "256K", "1M", "2M", "8M", "64M"]
_LOADS = (
    [("pairs, one thread", "pairs", f"malloc {size}") for size in _PAIRS]
    + [("pairs, one thread", "pairs", text) for text in ("calloc 64", "aligned 64 1M", "aligned 2M 8M")]
    + [("batches", "batch", text) for text in (
        "1000 64 lifo", "1000 64 fifo", "1000 64 random", "1000 mixed random", "100000 64 random")]
    + [("churn", "churn", text) for text in ("replace 10000 1K", "replace 1000 64K", "fragment", "large")]
    + [("threads", "server", f"throughput {n}") for n in (1, 2, 8)]
    + [("threads", "cross", text) for text in (
        "pipe 1 64", "pipe 1 mixed", "pipe 4 mixed", "churn keep", "churn leave", "scratch active 2",
        "scratch passive 2", "scratch active 8", "scratch passive 8")]
    + [("growth", "grow", text) for text in ("double", "steps", "fill 1M", "fill 8M", "fill 64M")]
    + [("tail latency", "server", f"latency {n}") for n in (1, 2, 8)]
    + [("memory", "memory", f"overhead {kind}") for kind in ("64", "small", "large")]
    + [("memory", "memory", f"return {kind}") for kind in ("small", "large")]
)

_LOAD_NAMES = {"malloc": "pair", "replace": "churn", "throughput": "server", "latency": "latency.server",
               "double": "realloc.double", "steps": "realloc.steps"}


def _load_name(program, arguments):
    """The name that the load prints; the first word of its arguments is its mode."""
    words = arguments.split()
    if program == "batch":
        return ".".join(["batch"] + words)
    if program == "churn" and words[0] in ("fragment", "large"):
        return f"churn.{words[0]}"
    if program == "cross" and words[0] == "churn":
        return f"threads.{words[1]}"
    return ".".join([_LOAD_NAMES.get(words[0], words[0])] + words[1:])


def loads(folder, sweep):
    """Every load's row; its binaries lie in folder."""
    rows = []
    cores = os.cpu_count() or 1
    table = list(_LOADS)
    if cores > 8:
        table += [("threads", "server", f"throughput {cores}"), ("threads", "cross", f"pipe {min(16, cores // 2)} 64")]
    for group, program, arguments in table:
        name = _load_name(program, arguments)
        row = Row(name, group, [os.path.join(folder, program)] + arguments.split())
        if name.startswith("return."):
            row.rounds_at_most = 3
        rows.append(row)
    if sweep:
        rows.append(Row("sweep", "sweep", [os.path.join(folder, "pairs"), "sweep"], rounds_at_most=5))
    return rows


def _program(name, tool, arguments, **more):
    path = shutil.which(tool, path="/usr/bin:/usr/local/bin:/bin") or shutil.which(tool)
    why_not = more.pop("why_not", "") or ("" if path else f"{tool} is not installed")
    return Row(name, "real programs", [path or tool] + arguments, kind="program", why_not=why_not, **more)


def programs(scripts, loads_folder, work):
    """Every real program's row. Inputs are generated into work, the same bytes on every machine."""
    script = lambda name: os.path.join(scripts, name)
    big_c = inputs.big_c_file(os.path.join(work, "big.c"))
    sql = inputs.sql_file(os.path.join(work, "work.sql"))
    python_file = inputs.big_python_file(os.path.join(work, "big.py"))
    git_folder, git_why_not = inputs.git_repository(os.path.join(work, "repository"))
    cxx_source = os.path.join(os.path.dirname(scripts), "loads", "cppheavy.cc")
    cppheavy = os.path.join(loads_folder, "cppheavy")
    rows = [
        _program("python.json", "python3", [script("json_churn.py")]),
        _program("python.dicts", "python3", [script("dicts.py")]),
        _program("python.dicts.malloc", "python3", [script("dicts.py")], environment={"PYTHONMALLOC": "malloc"}),
        _program("python.ast", "python3", [script("parse.py"), python_file]),
        _program("gcc.c", "gcc", ["-O1", "-S", "-w", "-o", "-", big_c]),
        _program("gcc.c++", "g++", ["-O1", "-S", "-w", "-o", "-", cxx_source]),
        _program("clang.c++", "clang++", ["-O1", "-S", "-w", "-o", "-", cxx_source]),
        _program("sqlite", "sqlite3", ["-batch", "-init", sql, ":memory:", "SELECT 'done';"]),
        _redis(work),
        _program("node", "node", [script("objects.js")]),
        _program("perl", "perl", [script("words.pl")]),
        _program("lua", "lua5.4", [script("tables.lua")]),
        _program("ruby", "ruby", [script("objects.rb")]),
        _program("git.log", "git", ["-C", git_folder, "log", "-p", "--stat"], why_not=git_why_not),
        _program("git.repack", "git", ["-C", git_folder, "repack", "-adfq"], why_not=git_why_not),
        Row("c++.heavy", "real programs", [cppheavy, "20"], kind="program",
            why_not="" if os.path.exists(cppheavy) else "no C++ compiler"),
    ]
    return rows


def _redis(work):
    """redis-server on a socket of its own, driven by redis-benchmark; what counts is the server's time and memory."""
    socket = os.path.join(work, "redis.sock")
    client = shutil.which("redis-benchmark") or ""
    stop = shutil.which("redis-cli") or ""
    row = _program("redis", "redis-server", [
        "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", work,
        "--loglevel", "warning"], ready=socket, check_output=False)
    if not client or not stop:
        row.why_not = row.why_not or "redis-benchmark or redis-cli is not installed (Debian package redis-tools)"
    common = [client, "-s", socket, "-q", "-c", "20", "-P", "16", "-r", "100000"]
    row.clients = [
        common + ["-n", "200000", "-d", "100", "-t", "set,get,lpush,lpop,sadd,hset,zadd"],
        common + ["-n", "50000", "-d", "3000", "-t", "set,get"],
        [stop, "-s", socket, "shutdown", "nosave"],
    ]
    return row


# Programs of mimalloc-bench (Leijen) that do a fixed piece of work: (name, arguments, a file of the suite's sources).
_SUITE = [
    ("cfrac", "17545186520507317056371138836327483792789528", ""),
    ("espresso", "", "espresso/largest.espresso"),
    ("alloc-test", "1", ""),
    ("glibc-simple", "", ""),
    ("mstress", "{cores} 50 25", ""),
    ("malloc-large", "", ""),
    ("mleak", "5", ""),
    ("cache-scratch", "{cores} 1000 1 1000000 {cores}", ""),
    ("cache-thrash", "{cores} 1000 1 1000000 {cores}", ""),
]


def suite(folder):
    """Rows of a public suite that the user fetched, and built in folder/out. Nothing of it is here."""
    cores = str(min(os.cpu_count() or 1, 16))
    rows = []
    for program, arguments, source in _SUITE:
        command = [os.path.join(folder, "out", program)] + arguments.replace("{cores}", cores).split()
        command += [os.path.join(folder, "bench", source)] if source else []
        rows.append(Row(f"suite.{program}", "mimalloc-bench", command, kind="program", check_output=False,
                        why_not="" if os.path.exists(command[0]) else "not built"))
    rows.append(Row("suite.rbstress", "mimalloc-bench", ["/usr/bin/ruby", os.path.join(folder, "bench/rbstress/stress_mem.rb"), "1"],
                    kind="program", check_output=False, why_not="" if os.path.exists("/usr/bin/ruby") else "no ruby"))
    return rows
