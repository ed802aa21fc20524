#!/usr/bin/env python3
"""Runs the table of expect.txt and prints the matrix: misuse, what happened, what was wanted.

Meson runs each row as its own test at the default level, and this at the stronger ones; for a person:
    check_table.py --lib libhypool-preload.so --programs DIR [--level N] [--env HYPOOL_HARDEN=N] [--verbose]
The page docs/design/misuse.md is what a run of all levels came to:
    check_table.py --lib libhypool-preload.so --programs DIR --markdown > docs/design/misuse.md
and is held against the table, which the tests hold against the library, by
    check_table.py --docs docs/design/misuse.md
The exit status is 1 when a row differs, and when the table had no row.
"""
import argparse
import os
import re
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
runner = os.path.join(here, "..", "interpose", "run.py")
MEANINGS = {
    "double_free": "free of a block that is free",
    "invalid_free": "free of what malloc never gave",
    "misaligned_free": "free of an address inside a block",
    "double_free_between": "second free after something else happened",
    "invalid_realloc": "realloc of no live block",
    "invalid_usable_size": "malloc_usable_size of no live block",
    "freelist_write": "write over a freed block's first bytes",
    "sized_free_mismatch": "sized free with another size",
    "aligned_sized_free_mismatch": "aligned sized free with another size",
    "sized_delete_mismatch": "sized delete with another size",
    "overflow": "write behind the end",
    "underflow": "write in front of the start",
    "write_after_free": "write to a freed block, seen when it comes round",
    "access_after_free": "access to a freed large block",
    "sampled": "misuse of a small block that was sampled",
    "double_free_after_reuse": "second free after others had its size",
}

SKIPPED = {"sized_delete_mismatch"}  # by itself, where the C++ runtime's sized delete drops the size


def rows(column):
    for line in open(os.path.join(here, "expect.txt"), encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("|")]
            yield cells[0].split(), cells[min(column, len(cells) - 1)]


def judge(wanted):
    """Arguments of run.py for an answer of the table."""
    answers = [answer.strip() for answer in wanted.split("/")]
    if wanted == "-":
        return ["--status", "3"]
    messages = [answer for answer in answers if answer != "SEGV"]
    if not messages:
        return ["--signal", "SEGV"]
    also = ["--or-signal", "SEGV"] if "SEGV" in answers else []
    return ["--signal", "ABRT", "--message", " / ".join(messages), *also]


def check(a):
    good = bad = 0
    for command, wanted in rows(a.level):
        run = [runner, "--lib", a.lib, "--timeout", "30", *judge(wanted)]
        for pair in a.env:
            run += ["--env", pair]
        done = subprocess.run([*run, "--", os.path.join(a.programs, command[0]), *command[1:]], capture_output=True,
                              text=True, check=False)
        if done.returncode == 0:
            good += 1
            print(f"ok    {' '.join(command):44} {wanted}")
        elif done.returncode == 77:
            print(f"skip  {' '.join(command):44} {done.stdout.strip()}")
        else:
            bad += 1
            print(f"FAIL  {' '.join(command):44} {done.stdout.splitlines()[1].strip() if done.stdout else done.stderr}")
            if a.verbose:
                print(done.stdout)
    print(f"{good} passed, {bad} failed")
    return bad > 0 or good == 0


def outcome(a, command, level):
    """What stops a program at a level: the message's first words, SIGSEGV, another signal, or nothing."""
    env = dict(os.environ, LD_PRELOAD=os.path.abspath(a.lib), HYPOOL_HARDEN=str(level))
    if command[0] != "sampled":
        env["HYPOOL_GUARD"] = "0"  # no victim is sampled by chance
    done = subprocess.run([os.path.join(a.programs, command[0]), *command[1:]], env=env, capture_output=True, text=True,
                          errors="replace", timeout=60, check=False)
    said = re.search(r"^hypool: (.*?) of 0x", done.stderr, re.M)
    if done.returncode == 77:
        return None
    if said and done.returncode == -6:
        return said[1]
    return {-11: "SIGSEGV", 3: "no"}.get(done.returncode, f"ended with {done.returncode}")


def docs(path):
    """Cells of the page that are no answer of the table, rows that are in one of the two alone."""
    page, wrong = {}, []
    for line in open(path, encoding="utf-8"):
        row = re.fullmatch(r"\| [^|]* \| `([^`]*)` \| (.*) \|", line.strip())
        if row:
            page[row[1]] = row[2].split(" | ")
    for command, _ in rows(1):
        name = " ".join(command)
        cells = page.pop(name, None)
        if cells is None and command[0] in SKIPPED:
            continue
        if cells is None or len(cells) != 4:
            wrong.append(f"{name}: the page has no row of it")
            continue
        for level, cell in enumerate(cells):
            wanted = next(w for c, w in rows(max(level, 1)) if c == command)
            right = {{"-": "no", "SEGV": "SIGSEGV"}.get(w.strip(), w.strip()) for w in wanted.split("/")}
            if cell not in right and not (level == 0 and cell == "no"):
                wrong.append(f"{name}: at level {level} the page says {cell}, the table {wanted}")
    wrong += [f"{name}: no row of the table" for name in page]
    print("\n".join(wrong) or f"{sum(1 for _ in rows(1))} rows as the table has them")
    return bool(wrong) or not any(rows(1))


def markdown(a):
    print("# Misuse by level of hardening\n")
    print("Made by `tests/abuse/check_table.py --markdown` from a run of the programs in tests/abuse, each at each level of the")
    print("option `harden`. A cell says what ended the program: hypool's message and SIGABRT, the processor (SIGSEGV), or")
    print("nothing (no). Arguments are sizes in bytes and kinds; each program's first lines say what they mean.\n")
    print("| misuse | program | level 0 | level 1 (default) | level 2 | level 3 |\n|---|---|---|---|---|---|")
    for command, _ in rows(1):
        cells = [outcome(a, command, level) for level in range(4)]
        if None in cells:
            continue
        name = command[0]
        while name and name not in MEANINGS:
            name = name.rpartition("_")[0]
        print(f"| {MEANINGS.get(name, command[0])} | `{' '.join(command)}` | {' | '.join(cells)} |")
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", default="")
    p.add_argument("--programs", default="")
    p.add_argument("--docs", help="the page that is to say what the table says")
    p.add_argument("--level", type=int, default=1)
    p.add_argument("--env", action="append", default=[])
    p.add_argument("--markdown", action="store_true", help="the table of all levels, for the docs")
    p.add_argument("--verbose", action="store_true")
    a = p.parse_args()
    if a.docs:
        return docs(a.docs)
    return markdown(a) if a.markdown else check(a)


if __name__ == "__main__":
    sys.exit(main())
