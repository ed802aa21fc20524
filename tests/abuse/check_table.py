#!/usr/bin/env python3
"""Runs the table of expect.txt and prints the matrix: misuse, what happened, what was wanted.

Meson runs each row as its own test; this prints all of them at once, for a person and for the docs:
    check_table.py --lib libhypool-preload.so --programs DIR [--level COLUMN] [--env HYPOOL_HARDEN=2]
The exit status is 1 when a row differs, and when the table had no row.
"""
import argparse
import os
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))


def rows(column):
    for line in open(os.path.join(here, "expect.txt"), encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("|")]
            yield cells[0].split(), cells[min(column, len(cells) - 1)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", default="")
    p.add_argument("--programs", required=True)
    p.add_argument("--level", type=int, default=1)
    p.add_argument("--env", action="append", default=[])
    p.add_argument("--verbose", action="store_true")
    a = p.parse_args()
    good = bad = 0
    for command, message in rows(a.level):
        wanted = ["--signal", "ABRT", "--message", message] if message != "-" else ["--status", "3"]
        run = [os.path.join(here, "..", "interpose", "run.py"), "--lib", a.lib, "--timeout", "30", *wanted]
        for pair in a.env:
            run += ["--env", pair]
        done = subprocess.run([*run, "--", os.path.join(a.programs, command[0]), *command[1:]], capture_output=True,
                              text=True, check=False)
        if done.returncode == 0:
            good += 1
            print(f"ok    {' '.join(command):44} {message}")
        elif done.returncode == 77:
            print(f"skip  {' '.join(command):44} {done.stdout.strip()}")
        else:
            bad += 1
            print(f"FAIL  {' '.join(command):44} {done.stdout.splitlines()[1].strip() if done.stdout else done.stderr}")
            if a.verbose:
                print(done.stdout)
    print(f"{good} passed, {bad} failed")
    return bad > 0 or good == 0


if __name__ == "__main__":
    sys.exit(main())
