"""Compiles the loads, runs one row under one allocator, and interleaves all of them.

Every run is a fresh process under loads/runner.c, which preloads the library and reports wall, user and system time and
ru_maxrss. A row's runs stand next to each other in time: round by round, every allocator once a round, the order
rotated from round to round, so that a slow minute of the machine falls on all of them alike.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time

from harness.rows import Row

TIMEOUT_S = 240


class Failed(Exception):
    """A run that gave no figure; the text says why."""


def compile_loads(source, folder):
    """Every load with cc -O2, so that a figure never depends on a build folder's options. Returns the folder."""
    for name in sorted(os.listdir(source)):
        stem, extension = os.path.splitext(name)
        compiler = {".c": "cc", ".cc": "c++"}.get(extension)
        if not compiler:
            continue
        command = [compiler, "-O2", os.path.join(source, name), "-o", os.path.join(folder, stem), "-lpthread", "-ldl"]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError):
            if extension == ".c":
                raise
    return folder


def environment(work, more):
    """What a measured program sees: little, and the same everywhere. HYPOOL_* and MALLOC_* pass, to try options."""
    result = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": work, "LANG": "C", "LC_ALL": "C", "TMPDIR": work,
              "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat"}
    result.update({k: v for k, v in os.environ.items() if k.startswith(("HYPOOL_", "MALLOC_", "MIMALLOC_"))})
    result.update(more)
    return result


def _why(code):
    if code > 128:
        try:
            return f"killed by {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"exit status {code}"


def _stop(process):
    """Ends the process group that we started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for(path, process):
    for _ in range(500):
        if process.poll() is not None:
            raise Failed(f"server ended early: {_why(process.returncode)}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
            return
        time.sleep(0.02)
    raise Failed("server did not come up")


def _read_report(path):
    try:
        with open(path, encoding="ascii") as file:
            wall_ns, user_us, system_us, peak_kib, status = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        raise Failed("no report") from None
    return wall_ns, user_us, system_us, peak_kib, status


def run_once(row, allocator, runner, work):
    """One process of the row. Returns a list of (row name, {metric: value}, output digest)."""
    report = os.path.join(work, "report")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(report)
    if row.ready:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(row.ready)
    environ = environment(work, row.environment)
    process = subprocess.Popen([runner, report, allocator.path] + row.command, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environ, cwd=work,
                               start_new_session=True)
    try:
        if row.ready:
            _wait_for(row.ready, process)
            for client in row.clients:
                subprocess.run(client, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(work, {}),
                               timeout=TIMEOUT_S, check=False)
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {TIMEOUT_S} s") from None
    finally:
        if process.poll() is None:
            _stop(process)
    if process.returncode != 0:
        text = err.decode("utf-8", "replace").strip().splitlines()
        raise Failed(_why(process.returncode) + (f": {text[-1][:120]}" if text else ""))
    wall_ns, user_us, system_us, peak_kib, _ = _read_report(report)
    if row.kind == "program":
        metrics = {"time": (user_us + system_us) / 1000, "memory": peak_kib, "info_wall_ms": wall_ns / 1e6}
        return [(row.name, metrics, hashlib.sha256(out).hexdigest() if row.check_output else "")]
    return _parse_results(row, allocator, out.decode("ascii", "replace"))


def _parse_results(row, allocator, text):
    """The result lines of a load. Which malloc it really called is checked, or the row would compare nothing."""
    results = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or words[0] != "result":
            continue
        more = dict(word.split("=", 1) for word in words[4:])
        whose = more.pop("info_malloc", "?")
        if whose != os.path.basename(allocator.path) and whose != os.path.basename(os.path.realpath(allocator.path)):
            raise Failed(f"the load called malloc of {whose}, not of {os.path.basename(allocator.path)}")
        metrics = {"time": float(words[2]), "memory": int(words[3])}
        metrics.update({key: float(value) for key, value in more.items()})
        results.append((words[1], metrics, ""))
    if not results:
        raise Failed("no result line")
    return results


def probe(allocator, loads_folder, runner, work):
    """Why this library cannot be compared, or "": one small load must run on it, and on its own malloc."""
    row = Row("probe", "", [os.path.join(loads_folder, "batch"), "1000", "64", "lifo"])
    try:
        run_once(row, allocator, runner, work)
    except Failed as failure:
        return str(failure)
    return ""


class SharedLock:
    """A lock file that is held while rows run, so that other timed work on the machine waits its turn. It is let go
    between two rows once it was held for HOLD_S. Without a path it does nothing."""

    HOLD_S = 240

    def __init__(self, path):
        self.path, self.file, self.since = path, None, 0.0

    def take(self):
        if self.path and self.file is None:
            self.file = open(self.path, "a", encoding="ascii")  # pylint: disable=consider-using-with
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.monotonic()

    def row_done(self):
        if self.file is not None and time.monotonic() - self.since > self.HOLD_S:
            self.file.close()
            self.file = None
            time.sleep(1)


def order_of(allocators, round_number):
    """Rotated by one a round, and every second cycle backwards."""
    shift = round_number % len(allocators)
    order = allocators[shift:] + allocators[:shift]
    return order[::-1] if round_number // len(allocators) % 2 else order


def run_row(row, allocators, rounds, runner, work):
    """All rounds of one row. Returns (samples, failures):
    samples[name][metric][allocator] is a list; failures[allocator] is the reason of its first failure."""
    samples, failures, digests = {}, {}, {}
    for round_number in range(min(rounds, row.rounds_at_most)):
        for allocator in order_of(allocators, round_number):
            if allocator.name in failures:
                continue
            try:
                results = run_once(row, allocator, runner, work)
            except Failed as failure:
                failures[allocator.name] = str(failure)
                continue
            for name, metrics, digest in results:
                if digest and digests.setdefault(name, digest) != digest:
                    failures[allocator.name] = "its output differs from that of the first run"
                for metric, value in metrics.items():
                    samples.setdefault(name, {}).setdefault(metric, {}).setdefault(allocator.name, []).append(value)
    for name, reason in failures.items():
        print(f"compare: {row.name} under {name}: {reason}", file=sys.stderr)
    return samples, failures
