#!/usr/bin/env python3
"""perf/tracking.py: what each tracking level costs beside level none: instructions by callgrind, CPU time and peak
memory by paired runs.

    perf/tracking.py --build BUILD [--rounds 15] [--results DIR] [--lock FILE] [--loads REGEX]

Loads: the server load (perf/tracking_server.c: one thread that replaces random blocks of 16 B to 16 KiB) with one set
of 1000 blocks and with 250, python3 on perf/programs/dicts.py, and the same with PYTHONMALLOC=malloc. A round runs every
level once, each right after a run of level none; a time is the ratio of the two, and the figure is the median over the
rounds. Level none stands beside itself likewise: its row is the noise. Times are the processor's: of python3 all of it,
of the server load the median of many chunks. Instructions are those of whole runs by callgrind, of python3 with a tenth
of the script's rounds, and exact but for what addresses do to hash tables. Peaks are of resident memory, at addresses
that are the same in every run (setarch -R); "private" is what of it no other process shares, without the files' pages
that any program's first look at them maps, 64 KiB at a time.
"""
import argparse
import datetime
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = ("none", "basic", "standard", "detailed", "debug")
BARS_TIME = (0, 0.5, 1, 3, 10)
BARS_MEMORY = (0, 0.1, 0.3, 1, 5)
PEAK = "import sys; exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')); " \
       "print('peak', [l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]); " \
       "print('private', [l for l in open('/proc/self/smaps_rollup') if l.startswith('Private_Dirty')][0].split()[1])"
FIXED = ["setarch", "-R"] if shutil.which("setarch") else []
FIELDS = ("time", "peak", "private")


def arguments():
    parser = argparse.ArgumentParser(description="What each tracking level costs.")
    parser.add_argument("--build", required=True, help="build folder with libhypool-preload.so")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    parser.add_argument("--lock", default="", metavar="FILE", help="hold this file's lock while a round runs")
    parser.add_argument("--loads", default="", metavar="REGEX", help="only these loads")
    return parser.parse_args()


def loads_of(work):
    """For each load what is timed, what tells its memory, and what is counted; and more of an environment."""
    server = os.path.join(work, "server")
    subprocess.run(["cc", "-O2", os.path.join(HERE, "tracking_server.c"), "-o", server, "-lm"], check=True)
    script = os.path.join(HERE, "programs", "dicts.py")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    own = [python, "-S", "-c", PEAK, script]
    short = [part.replace("open(sys.argv[1]).read()", "open(sys.argv[1]).read().replace('120000', '12000')") for part in own]
    return {"server.1": ([server, "time", "150"], [server, "hold", "1"], [server, "time", "20"], {}),
            "server.250": (None, [server, "hold", "250"], None, {}),
            "python3": (own, own, short, {}),
            "python3.malloc": (own, own, short, {"PYTHONMALLOC": "malloc"})}


def environment(library, level, more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HYPOOL_") and k != "LD_PRELOAD"}
    return kept | {"LD_PRELOAD": library, "HYPOOL_TRACK": str(level), "PYTHONHASHSEED": "0"} | more


def run(command, more, library, level):
    """What one run says of itself, and its processor time where it says none."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*FIXED, *command], env=environment(library, level, more), capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = dict(line.split() for line in done.stdout.splitlines() if re.fullmatch(r"(ns|peak|private) [\d.]+", line))
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"time": float(said.get("ns", spent)), "peak": float(said.get("peak", 0)), "private": float(said.get("private", 0))}


def instructions(command, more, library, level):
    if shutil.which("valgrind") is None or command is None:
        return None
    done = subprocess.run([*FIXED, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
                          env=environment(library, level, more), capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def locked(path, work):
    if not path:
        return work()
    import fcntl
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return work()


def paired(load, library, rounds, lock):
    """For each level and field the differences to the run of level none just before it, in percent and as they are."""
    timed, told, _, more = load
    found = [{field: ([], []) for field in FIELDS} for _ in LEVELS]

    def pair(level, command, fields):
        base = run(command, more, library, 0)
        mine = run(command, more, library, level)
        for field in fields:
            found[level][field][0].append(100 * (mine[field] / base[field] - 1))
            found[level][field][1].append(mine[field] - base[field])

    def one(first):
        for k in range(len(LEVELS)):
            level = (first + k) % len(LEVELS)
            if timed is not None and timed is told:
                pair(level, timed, FIELDS)
            else:
                if timed is not None:
                    pair(level, timed, FIELDS[:1])
                if first < 5:
                    pair(level, told, FIELDS[1:])
    for number in range(rounds):
        locked(lock, lambda first=number: one(first))
    return found


def spread(values):
    """Half the middle half of the samples, as the median's own uncertainty: 1.25 times it over the root of their number."""
    if len(values) < 4:
        return 0
    low, _, high = statistics.quantiles(values, n=4)
    return 1.25 * (high - low) / 1.349 / len(values) ** 0.5


def row(name, level, found, count, base):
    """A line of the results."""
    def of(field):
        percents, differences = found[field]
        if not percents:
            return "", "", ""
        return f"{statistics.median(percents):.2f}", f"{spread(percents):.2f}", f"{statistics.median(differences):.0f}"
    exact = f"{100 * (count / base - 1):.3f}" if count is not None else ""
    time, peak, private = of("time"), of("peak"), of("private")
    return ",".join((name, LEVELS[level], exact, *time[:2], str(BARS_TIME[level]), *peak, private[0], private[2], str(BARS_MEMORY[level])))


def main():
    options = arguments()
    library = os.path.join(os.path.abspath(options.build), "interpose", "libhypool-preload.so")
    today = datetime.datetime.now(datetime.timezone.utc)
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    machine = re.search(r"^model name.*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read(), re.MULTILINE)
    path = os.path.join(options.results, f"tracking-{today:%Y-%m-%d}.csv")
    os.sync()  # pages of a file that was just built would count as the program's own until they are on the disk
    with tempfile.TemporaryDirectory() as work, open(path, "w", encoding="utf-8") as file:
        file.write(f"# machine: {machine.group(1) if machine else platform.machine()}, {os.cpu_count()} processors; "
                   f"kernel: {platform.release()}; commit: {commit.stdout.strip()}\n"
                   f"# command: perf/tracking.py --build BUILD --rounds {options.rounds}\n"
                   "# percentages above level none; *_error is the median's standard error; a bar is an upper bound; *_kib: the difference\n"
                   "load,level,instructions_pct,time_pct,time_error,time_bar,peak_pct,peak_error,peak_kib,private_pct,private_kib,memory_bar\n")
        for name, load in loads_of(work).items():
            if not re.search(options.loads, name):
                continue
            found = paired(load, library, options.rounds, options.lock)

            def count(level, of=load):
                return locked(options.lock, lambda: instructions(of[2], of[3], library, level))
            base = count(0)
            for level in range(len(LEVELS)):
                line = row(name, level, found[level], count(level) if base is not None else None, base)
                file.write(line + "\n")
                file.flush()
                print(line, flush=True)
    return 0


sys.exit(main())
