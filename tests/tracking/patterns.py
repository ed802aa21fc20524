#!/usr/bin/env python3
"""Each pattern is found in the program that was made for it, with the function that does it; a plain program has none."""
from common import PROGRAMS, check, hypool, main, report, scratch

AT_A_SITE = {"temporary", "growth", "leak", "lifetime", "slack"}


def advice(name, *options):
    hypool("run", "--quiet", "--mean", "64K", *options, "--report", scratch(name), "--", PROGRAMS["patterns"], name)
    return report(scratch(name))["advice"]


def each_is_found():
    for name in ("temporary", "growth", "leak", "lifetime", "slack", "size", "fragmentation", "temporal"):
        found = advice(name, *(["--leaks"] if name == "leak" else ["--option", "timeline:10ms"]))
        mine = [a for a in found if a["kind"] == name]
        check(mine, f"{name}: {found}")
        if name in AT_A_SITE:
            check(any(name in a["text"] or "keep" in a["text"] for a in mine), mine)


def plain_is_quiet():
    found = advice("sizes", "--leaks")
    check(not found, found)


main([each_is_found, plain_is_quiet])
