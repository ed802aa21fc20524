#!/usr/bin/env python3
"""Programs that end without their exit handlers leave a report all the same: killed, crashed, by _exit, by exec; in every
format; what forked children do is not in it; and without `hypool run` nothing is kept anywhere."""
import gzip
import json
import os
import signal
import subprocess
import sys

from common import LIBRARY, PROGRAMS, check, hypool, main, report, scratch

HOLD = "x = [bytes(100000) for i in range(400)]\nimport os, signal, ctypes\n"
KILL = "os.kill(os.getpid(), signal.SIGKILL)\n"


def python(text, *options, status, report_name="r", **more):
    return hypool("run", "--mean", "1", "--report", scratch(report_name), *options, "--", sys.executable, "-S", "-c", text,
                  status=status, **more)


def ways():
    for text, status in ((KILL, -signal.SIGKILL), ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
                         ("ctypes.string_at(0)", -signal.SIGSEGV), ("os._exit(3)", 3), ("os._exit(0)", 0)):
        done = python(HOLD + text, status=status)
        data = report(scratch("r"))
        check(data["meta"]["ended_early"] == "1" and "without its exit handlers" in done.stderr, done.stderr)
        live = sum(s["live_bytes"] for s in data["sites"])
        check(40e6 < live < 60e6 and data["ticks"] and data["stats"]["allocations"] > 100, (text, live))
        os.unlink(scratch("r"))
    python(HOLD, status=0)
    check(report(scratch("r"))["meta"]["ended_early"] == "0")


def names():
    """The functions of C++ are named as in any report."""
    hypool("run", "--mean", "1", "--report", scratch("c"), "--", "sh", "-c", f"exec {PROGRAMS['planted']} killed", status=-9)
    data = report(scratch("c"))
    found = {f for s in data["sites"] for f in s["stack"]}
    check(any(f.startswith("lost_objects(") for f in found), found)
    check("planted" in data["meta"]["command"], data["meta"])


def formats():
    for name in ("e.html", "e.json", "e.folded", "e.heap", "e.dhat", "e.pb.gz"):
        python(HOLD + KILL, "--quiet", report_name=name, status=-signal.SIGKILL)
    check("prefers-color-scheme" in open(scratch("e.html"), encoding="utf-8").read())
    check(json.load(open(scratch("e.json"), encoding="utf-8"))["hypool_report"] == 1)
    check("MAPPED_LIBRARIES:\n" in open(scratch("e.heap"), encoding="utf-8").read())
    check(json.load(open(scratch("e.dhat"), encoding="utf-8"))["dhatFileVersion"] == 2)
    check(sum(int(line.rsplit(" ", 1)[1]) for line in open(scratch("e.folded"), encoding="utf-8")) > 40e6)
    check(len(gzip.open(scratch("e.pb.gz")).read()) > 1000)


def children():
    """What children allocate is not their parent's: made by fork, and by the system call without the handlers of fork."""
    fork = "pid = os.fork()\n", "pid = ctypes.CDLL(None).syscall(57)\n" if os.uname().machine == "x86_64" else "pid = os.fork()\n"
    for how in fork:
        child = "if pid == 0:\n    y = [bytes(200000) for i in range(1000)]\n    os._exit(0)\nos.waitpid(pid, 0)\n"
        python(HOLD + how + child + KILL, "--quiet", status=-signal.SIGKILL)
        data = report(scratch("r"))
        live = sum(s["live_bytes"] for s in data["sites"])
        check(40e6 < live < 60e6 and int(data["meta"]["total_bytes"]) < 150e6, (how, live, data["meta"]))


def execs():
    """After an exec the report is of the new program; when that one is out of reach, of the one before."""
    hypool("run", "--quiet", "--report", scratch("x"), "--", "sh", "-c", f"exec {sys.executable} -S -c '{HOLD}os._exit(0)'")
    data = report(scratch("x"))
    check(sys.executable in data["meta"]["command"] and "exec" not in data["meta"]["command"], data["meta"])
    hypool("run", "--quiet", "--mean", "1", "--report", scratch("x"), "--", "sh", "-c", "exec env -i true", env={"PATH": os.environ["PATH"]})
    data = report(scratch("x"))
    check(data["meta"]["ended_early"] in "01" and data["sites"], data["meta"])


def budgets():
    done = python(HOLD + "os._exit(0)", "--max-leaks", "1G", status=120)
    check("nothing is known of leaks" in done.stderr, done.stderr)
    python(HOLD + "os._exit(0)", "--max-peak", "1M", status=120)


def unasked():
    """A plain preload that is killed leaves nothing, and opens nothing for it."""
    os.mkdir(scratch("empty"))
    env = os.environ | {"LD_PRELOAD": LIBRARY}
    text = HOLD + "import sys\nsys.stdout.write(open('/proc/self/maps').read())\nsys.stdout.flush()\n" + KILL
    done = subprocess.run([sys.executable, "-S", "-c", text], env=env, cwd=scratch("empty"), capture_output=True, text=True, check=False)
    check(done.returncode == -9 and "memfd" not in done.stdout and not os.listdir(scratch("empty")) and done.stderr == "", done)


main([ways, names, formats, children, execs, budgets, unasked])
