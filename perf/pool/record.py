#!/usr/bin/env python3
"""perf/pool/record.py: the records of what pools cost: runs the benches of this folder and writes perf/results.

    perf/pool/record.py --build BUILD [--results DIR] [--lock FILE] [--rows REGEX]

BUILD is a release build. Where code and blocks lie makes a difference of a cycle or two, so bench-pool runs as so many
processes, each at addresses of its own: told are the medians of their figures, and the greatest of their ratios. It is
linked with the shared library, and with the archive here. Instructions are by callgrind, of the archive: those of a long
run less those of a short one. REGEX chooses among the records: pool, count, levels, compact, defrag.
"""
import argparse
import contextlib
import csv
import datetime
import fcntl
import io
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROCESSES = 15
COUNTED = ((0, "hyp_malloc+free 64"), (1, "pool malloc+free 64"), (2, "hyp_malloc+free 1000"), (3, "pool malloc+free 1000"),
           (4, "handle alloc+free 64"), (5, "handle lock+unlock"), (8, "hyp_malloc+free 1 MiB"), (9, "handle alloc+free 1 MiB"))
SHORT, LONG = 2000, 12000


def arguments():
    parser = argparse.ArgumentParser(description="Writes the records of what pools cost.")
    parser.add_argument("--build", required=True, help="a release build")
    parser.add_argument("--results", default=os.path.join(ROOT, "perf", "results"))
    parser.add_argument("--lock", default="", metavar="FILE", help="hold this file's lock while a record is made")
    parser.add_argument("--rows", default="", metavar="REGEX", help="only these records")
    return parser.parse_args()


@contextlib.contextmanager
def locked(path):
    if not path:
        yield
        return
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def with_archive(build, folder):
    program = os.path.join(folder, "bench-pool")
    subprocess.run(["cc", "-O2", "-I", os.path.join(ROOT, "include"), os.path.join(HERE, "bench.c"), "-o", program,
                    os.path.join(build, "lib", "libhypool.a"), "-lpthread"], check=True)
    return program


def pool(build, folder):
    """bench-pool as many processes: the medians of their figures."""
    out = [["library", "row", "ns", "least_ns", "ratio", "most_ratio", "base"]]
    for name, program in (("shared", os.path.join(build, "perf", "pool", "bench-pool")), ("archive", with_archive(build, folder))):
        runs = [list(csv.DictReader(io.StringIO(output(program)))) for _ in range(PROCESSES)]
        for same in zip(*runs):
            row = same[0]
            middle = {k: f"{statistics.median(float(r[k]) for r in same):.{3 if k == 'ratio' else 2}f}" if row[k] else ""
                      for k in ("ns", "least_ns", "ratio")}
            most = f"{max(float(r['ratio']) for r in same):.3f}" if row["ratio"] else ""
            out.append([name, row["row"], middle["ns"], middle["least_ns"], middle["ratio"], most, row["base"] or ""])
    return f"bench-pool, {PROCESSES} processes each, linked with the shared library, then with the archive", out


def count(build, folder):
    """Instructions of an operation."""
    program = with_archive(build, folder)

    def instructions(row, operations):
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, str(row), str(operations)],
                             check=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        return int(re.search(r"Collected : (\d+)", run.stderr)[1])

    out = [["row", "instructions"]]
    for row, name in COUNTED:
        out.append([name, f"{(instructions(row, LONG) - instructions(row, SHORT)) / (LONG - SHORT):.1f}"])
    return f"valgrind --tool=callgrind bench-pool ROW N, linked with the archive: (N = {LONG} less N = {SHORT}) / {LONG - SHORT}", out


def plain(name):
    def record(build, _):
        text = output(os.path.join(build, "perf", "pool", "bench-" + name))
        return "bench-" + name, list(csv.reader(io.StringIO(text)))
    return record


RECORDS = {"pool": ("pool", pool), "count": ("pool-count", count), "levels": ("pool-levels", plain("levels")),
           "compact": ("pool-compact", plain("compact")), "defrag": ("pool-defrag", plain("defrag"))}


def main():
    options = arguments()
    build = os.path.abspath(options.build)
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")]
    commit = output("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD").strip()
    now = datetime.datetime.now(datetime.timezone.utc)
    chosen = [r for r in RECORDS if re.search(options.rows, r)]
    if not chosen:
        sys.exit("no record is called so")
    for record in chosen:
        file_name, make = RECORDS[record]
        with locked(options.lock), tempfile.TemporaryDirectory() as folder:
            load = os.getloadavg()[0]
            command, rows = make(build, folder)
        path = os.path.join(options.results, f"{file_name}-{now:%Y-%m-%d}.csv")
        with open(path, "w", encoding="ascii", newline="") as file:
            file.write(f"# machine: {model[0] if model else platform.machine()} ({os.cpu_count()} processors), load average {load:.1f}\n"
                       f"# kernel: Linux {platform.release()}\n# commit: {commit}, release build\n# command: {command}\n"
                       f"# date: {now:%Y-%m-%d %H:%M} UTC\n")
            csv.writer(file, lineterminator="\n").writerows(rows)
        print(path)


if __name__ == "__main__":
    main()
