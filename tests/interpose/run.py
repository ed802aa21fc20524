#!/usr/bin/env python3
"""Runs one test program under the library and judges how it ended.

Owns: LD_PRELOAD for the program alone (never for this script), the time limit, and the rules of judgement:
- default: exit status 0, and no line on descriptor 2 that begins "hypool: " (the library prints nothing unasked);
- --signal NAME: the program must die of that signal;
- --or-signal NAME: dying of that one, silently, is right as well;
- --message TEXT: descriptor 2 must hold exactly one line that begins "hypool: ", it must go on with TEXT (or one of
  TEXT / TEXT, where two answers are right) and a hexadecimal pointer, and where the program printed "pointer 0x..." on descriptor 1, it must be that pointer.
Exit status 77 of the program (cannot be tried here) is passed on. A time-out prints where the program stood.
Called by the meson files of tests/interpose, tests/abuse and tests/stress, and by hand:
    run.py --lib libhypool-preload.so -- ./family
"""
import argparse
import os
import re
import resource
import signal
import subprocess
import sys


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", default="", help="library to preload; empty: the system's malloc")
    p.add_argument("--no-preload", action="store_true", help="name the library in HYPOOL_TEST_LIB only")
    p.add_argument("--before", action="append", default=[], help="library to preload before it")
    p.add_argument("--env", action="append", default=[], metavar="K=V")
    p.add_argument("--timeout", type=float, default=60, help="seconds; ten times as many with HYPOOL_TEST_LONG=1")
    p.add_argument("--signal", default="", help="signal that must end the program, for example ABRT")
    p.add_argument("--or-signal", default="", help="signal that may end it instead, without a message")
    p.add_argument("--status", type=int, default=0)
    p.add_argument("--message", default="", help="how the one fatal line must begin")
    p.add_argument("--address-space", type=int, default=0, metavar="BYTES", help="RLIMIT_AS from the first instruction")
    p.add_argument("--output", default="", help="regular expression that the output must match")
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    if os.environ.get("HYPOOL_TEST_LONG") == "1":
        a.timeout *= 10
    return a


def environment(a):
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    lib = os.path.abspath(a.lib) if a.lib else ""
    if lib and not os.path.exists(lib):
        sys.exit(f"{lib}: no such library")
    preload = [os.path.abspath(b) for b in a.before] + ([lib] if lib and not a.no_preload else [])
    env["HYPOOL_TEST_LIB"] = lib
    if preload:
        env["LD_PRELOAD"] = " ".join(preload)
    for pair in a.env:
        key, _, value = pair.partition("=")
        env[key] = value
    return env


def stacks(pid):
    """Where every thread stands, when gdb is there to ask."""
    try:
        out = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"],
                             capture_output=True, text=True, timeout=20)
        return out.stdout[-6000:]
    except (OSError, subprocess.TimeoutExpired):
        return "(no gdb)"


def run(a):
    env = environment(a)

    def limits():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if a.address_space:
            resource.setrlimit(resource.RLIMIT_AS, (a.address_space, a.address_space))

    child = subprocess.Popen(a.command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, start_new_session=True, preexec_fn=limits)
    try:
        out, err = child.communicate(timeout=a.timeout)
        return child.returncode, out.decode(errors="replace"), err.decode(errors="replace"), ""
    except subprocess.TimeoutExpired:
        where = stacks(child.pid)
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        return None, out.decode(errors="replace"), err.decode(errors="replace"), where


def ending(code):
    if code is None:
        return "ran past its time"
    if code < 0:
        return "died of SIG" + signal.Signals(-code).name[3:]
    return f"exit status {code}"


def faults(a, code, out, err):
    lines = [line for line in err.splitlines() if line.startswith("hypool: ")]
    if a.or_signal and code == -getattr(signal, "SIG" + a.or_signal) and not lines:
        return
    wanted = -getattr(signal, "SIG" + a.signal) if a.signal else a.status
    if code != wanted:
        yield f"{ending(code)}, wanted: {ending(wanted)}"
    if not a.message and lines:
        yield "the library printed unasked"
    if a.message:
        if len(lines) != 1:
            yield f'{len(lines)} lines on descriptor 2 begin "hypool: ", wanted one'
        said = re.match(rf"hypool: (?:{a.message.replace(' / ', '|')})\b.*?\b(0x[0-9a-f]+)\b", lines[0]) if lines else None
        if lines and not said:
            yield f'the message does not begin "hypool: {a.message}" and name a pointer: {lines[0]}'
        meant = re.search(r"^pointer (0x[0-9a-f]+)$", out, re.M)
        if said and meant and int(said[1], 16) != int(meant[1], 16):
            yield f"the message names {said[1]}, the program passed {meant[1]}"
    if a.output and not re.search(a.output, out + err, re.M | re.S):
        yield f"the output does not match {a.output!r}"


def main():
    a = arguments()
    code, out, err, where = run(a)
    if code == 77:
        print(out, end="")
        return 77
    found = list(faults(a, code, out, err))
    if found:
        print("FAILED", " ".join(a.command))
        for fault in found:
            print("  " + fault)
        print("--- descriptor 1\n" + out[-4000:] + "--- descriptor 2\n" + err[-4000:] + where)
        return 1
    print(out[-2000:], end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
