#!/usr/bin/env python3
"""The real tools open what hypool writes, and all see the same totals: pprof (of Go), jeprof, DHAT's dh_view in a
browser, the OpenMetrics parser of the Prometheus client, promtool, readelf, bpftrace and gdb for the probes.

Each tool that is not there is named and passed over; with none at all the test is skipped (77).
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from common import LIBRARY, PROGRAMS, call, check, hypool, preloaded, scratch

FORMATS = PROGRAMS["formats"]
MADE = {"make_rows": 700 * 1600, "make_columns": 90 * 65536, "make_cells": 700 * 1600}
MISSING = 77


def missing(tool):
    print("skipped: no", tool)
    return False


def find(*names):
    """The first of these programs that is there; patterns too."""
    for name in names:
        found = shutil.which(name) or next(iter(sorted(glob.glob(name), reverse=True)), None)
        if found:
            return found
    return None


def live_of(rows, unit=1):
    """{function: bytes} of the functions that were planted, from (bytes, name) pairs."""
    return {name: round(float(size) * unit) for size, name in rows if name in MADE}


def own():
    data = json.loads(hypool("report", "--json", scratch("all.hyp")).stdout)
    total = sum(s["live_bytes"] for s in data["sites"])
    check(total == TOTAL, (total, TOTAL))
    check(sum(s["live_bytes"] for s in data["sites"] if s["pool"] != 0) == MADE["make_cells"])
    folded = [line.rsplit(" ", 1) for line in open(scratch("all.folded"), encoding="utf-8").read().splitlines()]
    check(sum(int(size) for _, size in folded) == TOTAL)
    return True


def pprof():
    tool = find("pprof", "/usr/lib/go-*/pkg/tool/*/pprof", "/usr/local/go/pkg/tool/*/pprof")
    if tool is None or "<format>" not in call(tool, "-h", status=None).stderr:
        return missing("pprof of Go (golang-go)")
    text = call(tool, "-sample_index=inuse_space", "-unit=byte", "-nodefraction=0", "-top", scratch("all.pb.gz")).stdout
    check(re.search(r"of %dB? total" % TOTAL, text), text)
    found = live_of(re.findall(r"^\s*(\d+)B?\s+[\d.]+%\s+[\d.]+%\s+\d+B?\s+[\d.]+%\s+(\w+)", text, re.M))
    check(found == MADE, found)  # the frames of allocators are left out
    text = call(tool, "-sample_index=alloc_objects", "-top", scratch("all.pb.gz")).stdout
    check(re.search(r"\b5000\b.*pass_by", text), text)
    text = call(tool, "-sample_index=inuse_space", "-unit=byte", "-tagfocus=pool", "-top", scratch("all.pb.gz")).stdout
    check("make_cells" in text and "make_rows" not in text, text)
    return True


def jeprof():
    tool = find("jeprof")
    if tool is None:
        return missing("jeprof (libjemalloc-dev)")
    text = call(tool, "--text", "--inuse_space", "--show_bytes", FORMATS, scratch("all.heap")).stdout
    usable = re.search(r"Total: (\d+) B", text)
    check(usable and TOTAL <= int(usable[1]) <= TOTAL * 1.13, text)  # by usable sizes: classes are 12.5 % apart
    found = live_of(re.findall(r"^\s*\d+\s+[\d.]+%\s+[\d.]+%\s+(\d+)\s+[\d.]+%\s+(\w+)", text, re.M))
    check(set(found) == set(MADE) and all(MADE[n] <= found[n] <= MADE[n] * 1.13 for n in MADE), text)
    return True


def dh_view():
    browser, script = find("chromium", "google-chrome"), find("/usr/libexec/valgrind/dh_view.js", "/usr/lib/*/valgrind/dh_view.js")
    if browser is None or script is None:
        return missing("chromium" if browser is None else "dh_view (valgrind)")
    data = open(scratch("all.dhat"), encoding="utf-8").read()
    with open(scratch("view.html"), "w", encoding="utf-8") as file:
        file.write(f"<!DOCTYPE html><html><head><meta charset=UTF-8><script src='file://{script}'></script></head><body><script>"
                   f"onLoad(); gFilename = 'all.dhat'; tryFunc(() => {{ gData = {data}; buildTree(); displayTree(0, 0, 0); }});"
                   "</script></body></html>")
    page = call(browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=5000",
                f"--user-data-dir={scratch('profile')}", "--dump-dom", "file://" + scratch("view.html"), status=None).stdout
    text = re.sub(r"<[^>]*>", "", page)
    check("Invocation" in text and "AP 1/1" in text or "PP 1/1" in text, text[:2000])
    totals = {kind: int(n.replace(",", "")) for kind, n in re.findall(r"(Total|At t-end):\s+([\d,]+) bytes", text)[:2]}
    check(totals.get("At t-end") == TOTAL, (totals, text[:1500]))
    check(totals.get("Total") == TOTAL + 5000 * 512, totals)
    check(all(name in text for name in MADE), text[:3000])
    return True


def metrics():
    done = False
    text = open(scratch("metrics.txt"), encoding="utf-8").read()
    program = ("import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n"
               "for family in parse(sys.stdin.read()):\n"
               "    for s in family.samples: print(s.name, s.value)\n")
    for python in ("/usr/bin/python3", sys.executable):
        if subprocess.run([python, "-c", "import prometheus_client.openmetrics.parser"], capture_output=True).returncode == 0:
            out = call(python, "-c", program, input=text).stdout
            values = dict(line.split() for line in out.splitlines() if "class" not in line)
            check(float(values["hypool_current_bytes"]) >= TOTAL - MADE["make_cells"], values)
            check(float(values["hypool_allocations_total"]) >= 5000 + 790, values)
            done = True
            break
    if not done:
        missing("prometheus_client (python3-prometheus-client)")
    if find("promtool") is None:
        return missing("promtool (prometheus)") or done
    # It reads the older text format, in which a counter's help and type name the sample; what it must not say is that it cannot parse.
    out = call("promtool", "check", "metrics", input=text, status=None)
    check(out.returncode in (0, 3) and "pars" not in out.stderr, (out.returncode, out.stderr))
    return True


def trace():
    """Chrome's format, by the rules of the trace viewers."""
    data = json.load(open(scratch("trace.json"), encoding="utf-8"))
    events = data["traceEvents"]
    check(all(e["ph"] in "CiM" and "pid" in e and "name" in e for e in events))
    check(all(isinstance(e["ts"], (int, float)) for e in events if e["ph"] != "M"))
    check(sum(e["name"] == "allocate" for e in events) > 400)
    return True


def probes():
    done = False
    if find("readelf") is None:
        missing("readelf (binutils)")
    else:
        text = call("readelf", "-n", LIBRARY).stdout
        found = re.findall(r"Provider: otel_memory\s+Name: (\w+)\s+Location: \S+, Base: \S+, Semaphore: (\S+)\s+Arguments: (.*)", text)
        check({name: len(arguments.split()) for name, _, arguments in found} == {"alloc": 3, "free": 1}, text)
        check(all(int(semaphore, 16) != 0 for _, semaphore, _ in found), found)
        done = True
    if find("bpftrace"):
        names = call("bpftrace", "-l", f"usdt:{LIBRARY}:*", status=None).stdout
        check(not names or {"otel_memory:alloc", "otel_memory:free"} == {n.split(":", 2)[2] for n in names.split()}, names)
    return done


def traced():
    """bpftrace attaches to the probes in the library's file, and counts what a program makes and frees, by size."""
    if find("bpftrace") is None:
        return missing("bpftrace")
    script = (f"usdt:{LIBRARY}:otel_memory:alloc {{ @made[arg1] = count(); }} usdt:{LIBRARY}:otel_memory:free {{ @freed = count(); }} "
              'interval:ms:200 { printf("attached\\n"); }')
    out = scratch("bpftrace")
    with open(out, "w", encoding="utf-8") as file:
        tracer = subprocess.Popen(["bpftrace", "-e", script], stdout=file, stderr=subprocess.STDOUT)
        for _ in range(100):
            time.sleep(0.1)
            if tracer.poll() is not None or "attached" in open(out, encoding="utf-8").read():
                break
        attached = tracer.poll() is None and "attached" in open(out, encoding="utf-8").read()
        if attached:
            preloaded(PROGRAMS["planted"], {"profile": 1, "profile_mean": 1, "profile_file": "/dev/null"}, status=3)
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(timeout=30)
    if not attached:
        return missing("leave to attach bpftrace (root, a kernel with uprobes)")
    text = open(out, encoding="utf-8").read()
    made = {int(size): int(count) for size, count in re.findall(r"^@made\[(\d+)\]: (\d+)", text, re.M)}
    freed = re.search(r"^@freed: (\d+)", text, re.M)
    check(made.get(5000) == 7 and made.get(3145728) == 1, made)
    check(freed and int(freed[1]) > 900, text[-500:])
    return True


def fired():
    """A debugger raises the semaphore, stops at the probes and reads their arguments."""
    if find("gdb") is None:
        return missing("gdb")
    with open(scratch("commands"), "w", encoding="utf-8") as file:
        file.write("set pagination off\nset confirm off\nset debuginfod enabled off\nset startup-with-shell off\n"
                   f"set environment LD_PRELOAD {LIBRARY}\nset environment HYPOOL_PROFILE 1\n"
                   "set environment HYPOOL_PROFILE_MEAN 1\nset environment HYPOOL_PROFILE_FILE /dev/null\nbreak main\nrun\n"
                   "break -probe-stap otel_memory:alloc\ncommands\nsilent\n"
                   'printf "alloc %lx %lu %lu\\n", $_probe_arg0, $_probe_arg1, $_probe_arg2\ncontinue\nend\n'
                   "break -probe-stap otel_memory:free\ncommands\nsilent\n"
                   'printf "free %lx\\n", $_probe_arg0\ncontinue\nend\ncontinue\n')
    done = call("gdb", "-batch", "-nx", "-x", scratch("commands"), "--args", PROGRAMS["planted"], status=None)
    if "alloc " not in done.stdout and re.search(r"ptrace|not permitted|Couldn't", done.stdout + done.stderr):
        return missing("ptrace")
    made = re.findall(r"^alloc (\w+) (\d+) (\d+)$", done.stdout, re.M)
    freed = set(re.findall(r"^free (\w+)$", done.stdout, re.M))
    check(sum(size == "5000" for _, size, _ in made) == 7, done.stdout[-3000:] + done.stderr[-1000:])
    check(all(size == weight for _, size, weight in made))  # every allocation is picked: each stands for itself
    check(sum(size == "3145728" for _, size, _ in made) == 1)
    lost = {p for p, size, _ in made if size == "5000"}
    check(not lost & freed and len(freed) > 900, len(freed))
    return True


TOTAL = int(call(FORMATS, scratch("")).stdout)
did = []
for test in (own, pprof, jeprof, dh_view, metrics, trace, probes, traced, fired):
    if test():
        did.append(test)
        print("ok", test.__name__)
sys.exit(0 if did else MISSING)
