#!/usr/bin/env python3
"""perf/tracking.py: what each tracking level costs beside level none: instructions by callgrind, CPU time and peak
memory by paired runs.

    perf/tracking.py --build BUILD [--rounds 15] [--results DIR] [--lock FILE]

Loads: perf/loads/server.c on one thread, python3 on perf/programs/dicts.py, and the same with PYTHONMALLOC=malloc. A
round runs every level once, each right after a run of level none; a time is the ratio of the two, and the figure is the
median over the rounds; with fewer than 5 rounds times are left out, and memory alone is told. Level none stands beside
itself likewise: its row is the noise. Instructions are those of whole runs, of python3 with a tenth of the script's
rounds, and exact but for what addresses do to hash tables.
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
       "print('peak', [l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1])"


def arguments():
    parser = argparse.ArgumentParser(description="What each tracking level costs.")
    parser.add_argument("--build", required=True, help="build folder with libhypool-preload.so")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    parser.add_argument("--lock", default="", metavar="FILE", help="hold this file's lock while a round runs")
    parser.add_argument("--loads", default="", metavar="REGEX", help="only these loads")
    return parser.parse_args()


def loads_of(work):
    server = os.path.join(work, "server")
    subprocess.run(["cc", "-O2", os.path.join(HERE, "loads", "server.c"), "-o", server, "-lpthread", "-ldl", "-lm"], check=True)
    script = os.path.join(HERE, "programs", "dicts.py")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    own = [python, "-S", "-c", PEAK, script]
    return {"server.1": ([server, "throughput", "1"], {}, r"^result\s+\S+\s+\S+\s+(\d+)"),
            "python3": (own, {}, r"^peak (\d+)"),
            "python3.malloc": (own, {"PYTHONMALLOC": "malloc"}, r"^peak (\d+)")}


def environment(library, level, more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HYPOOL_") and k != "LD_PRELOAD"}
    return kept | {"LD_PRELOAD": library, "HYPOOL_TRACK": str(level), "PYTHONHASHSEED": "0"} | more


def run(load, library, level):
    """CPU seconds and peak KiB of one run."""
    command, more, peak = load
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment(library, level, more), capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, int(re.search(peak, done.stdout, re.MULTILINE).group(1))


def instructions(load, library, level):
    command, more, _ = load
    command = [part.replace("open(sys.argv[1]).read()", "open(sys.argv[1]).read().replace('120000', '12000')") for part in command]
    if shutil.which("valgrind") is None:
        return None
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
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
    """For each level the ratios of time and memory to the run of level none just before it."""
    ratios = [([], []) for _ in LEVELS]

    def one(first):
        for k in range(len(LEVELS)):
            level = (first + k) % len(LEVELS)
            base = run(load, library, 0)
            mine = run(load, library, level)
            ratios[level][0].append(100 * (mine[0] / base[0] - 1))
            ratios[level][1].append((100 * (mine[1] / base[1] - 1), mine[1] - base[1]))
    for number in range(rounds):
        locked(lock, lambda first=number: one(first))
    return ratios


def spread(values):
    """Half the middle half of the samples, as the median's own uncertainty: 1.25 times it over the root of their number."""
    if len(values) < 4:
        return 0
    low, _, high = statistics.quantiles(values, n=4)
    return 1.25 * (high - low) / 1.349 / len(values) ** 0.5


def main():
    options = arguments()
    library = os.path.join(os.path.abspath(options.build), "interpose", "libhypool-preload.so")
    today = datetime.datetime.now(datetime.timezone.utc)
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    machine = re.search(r"^model name.*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read(), re.MULTILINE)
    path = os.path.join(options.results, f"tracking-{today:%Y-%m-%d}.csv")
    with tempfile.TemporaryDirectory() as work, open(path, "w", encoding="utf-8") as file:
        file.write(f"# machine: {machine.group(1) if machine else platform.machine()}, {os.cpu_count()} processors; "
                   f"kernel: {platform.release()}; commit: {commit.stdout.strip()}\n"
                   f"# command: perf/tracking.py --build BUILD --rounds {options.rounds}\n"
                   "# percentages above level none; *_error is the median's standard error; a bar is an upper bound; peak_kib: the difference\n"
                   "load,level,instructions_pct,time_pct,time_error,time_bar,peak_pct,peak_error,peak_bar,peak_kib\n")
        for name, load in loads_of(work).items():
            if not re.search(options.loads, name):
                continue
            ratios = paired(load, library, options.rounds, options.lock)
            base = instructions(load, library, 0)
            for level, (times, peaks) in enumerate(ratios):
                count = instructions(load, library, level) if base is not None else None
                exact = f"{100 * (count / base - 1):.3f}" if count is not None else ""
                time = f"{statistics.median(times):.2f},{spread(times):.2f}" if options.rounds >= 5 else ","
                line = (f"{name},{LEVELS[level]},{exact},{time},{BARS_TIME[level]},"
                        f"{statistics.median(p for p, _ in peaks):.2f},{spread([p for p, _ in peaks]):.2f},{BARS_MEMORY[level]},"
                        f"{statistics.median(k for _, k in peaks):.0f}")
                file.write(line + "\n")
                file.flush()
                print(line, flush=True)
    return 0


sys.exit(main())
