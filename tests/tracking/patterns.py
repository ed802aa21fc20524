#!/usr/bin/env python3
"""Each pattern is found in the program that was made for it, with the function that does it, what shows it, and what to do
about it; a plain program has none."""
import re

from common import PROGRAMS, check, hypool, main, report, scratch

# The whole text of each, and the bounds of its numbers, in their order. What was sampled is known within six standard
# errors or more; how long something took is anybody's guess on a busy machine.
ANY = (0, 1 << 40)
PLACE = r"(?:keep|NAME)\S*"
TEXTS = {
    "temporary": (r"(\d+) blocks \((\d+) MiB in all\) of PLACE lived under 10 ms each\. Keep one buffer, or use the stack\.",
                  [(150000, 230000), (140, 225)]),
    "growth": (r"PLACE took (\d+) MiB over (\d+) ms, evenly to the end, and freed nearly none \((\d+) KiB/s\)\. Bound it, or free it\.",
               [(10, 28), (900, 1 << 40), ANY]),
    "leak": (r"(\d+) bytes in (\d+) blocks of PLACE: nothing points to them any more\. Free them\.", [(1, 3000000), (1, 300)]),
    "lifetime": (r"(\d+) blocks of PLACE lived (\d+) ms each, most of the run, and were freed one by one\. Give them one pool\.",
                 [(40000, 80000), (600, 1 << 40)]),
    "slack": (r"PLACE asks for (\d+) bytes a block and gets (\d+): (\d+) MiB of rounding\. Pack several into one block\.",
              [(1, 1), (16, 16), (20, 38)]),
    "size": (r"(\d+) of (\d+) allocations were of (\d+) bytes or little less\. A pool of that size, or one array, serves them\.",
             [(1490000, 1510000), (1500000, 1520000), (80, 80)]),
    "fragmentation": (r"(\d+) MiB of spans hold (\d+) MiB of blocks: survivors keep whole spans\. Allocate what lives long together\.",
                      [(40, 60), (1, 3)]),
    "temporal": (r"a peak of (\d+) MiB at (\d+) ms, (\d+) times the mean, in (\d+) of (\d+) ticks\. Spread that work, or do it in parts\.",
                 [(200, 230), (500, 1 << 40), (3, 1000), (1, 512), (8, 512)]),
    "outside": (r"of (\d+) MiB resident at the peak the heap was (\d+) MiB: the rest is files, stacks and what the program maps itself\. "
                r"Look for its own mmap calls in /proc/PID/smaps\.", [(96, 200), (0, 32)]),
}
# What else is true of a program.
BESIDE = {"size": {"temporary"}, "slack": {"size"}}


def advice(name, *options):
    hypool("run", "--quiet", "--mean", "64K", *options, "--report", scratch(name), "--", PROGRAMS["patterns"], name)
    return report(scratch(name))["advice"]


def each_is_found():
    for name, (text, bounds) in TEXTS.items():
        found = advice(name, *(["--leaks"] if name == "leak" else ["--option", "timeline:10ms"]))
        mine = [a for a in found if a["kind"] == name]
        check(len(mine) == 1, f"{name}: {found}")
        match = re.fullmatch(text.replace("PLACE", PLACE.replace("NAME", name)), mine[0]["text"])
        check(match, f"{name}: {mine}")
        for number, (low, high) in zip(map(int, match.groups()), bounds, strict=True):
            check(low <= number <= high, f"{name}: {number} is not in {low} to {high}: {mine}")
        check(mine[0]["bytes"] > 0, mine)
        check({a["kind"] for a in found} <= {name} | BESIDE.get(name, set()), f"{name}: {found}")


def plain_is_quiet():
    found = advice("sizes", "--leaks")
    check(not found, found)


main([each_is_found, plain_is_quiet])
