#!/usr/bin/env python3
"""Words that have no place in the project: leftovers of unfinished work, paths of somebody's machine, and characters
that a terminal or a diff does not show.

The words are written here in halves, so that this file is clean too.
"""
import re

import common

WORDS = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"), "unfinished work; finish it or write an issue"),
    (re.compile(r"not yet imple" r"mented|place" r"holder\b", re.IGNORECASE), "unfinished work, by its own words"),
    (re.compile(r"(^|[\s\"'(=`])/(wo" r"rk|ho" r"me/\w+|Us" r"ers/\w+)/"), "a path of somebody's machine"),
    (re.compile(r"\b(deb\.debian|pypi|pythonhosted|npmjs|crates|rubygems|proxy\.golang)\.(org|com|io)\b"),
     "a package registry's host; name the package, the machine knows where from"),
    (re.compile(r"[\u200b\u200e\u200f\u202a-\u202e\ufeff]"), "an invisible character"),
    (re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE), "a merge conflict's mark"),
    (re.compile(r"[ \t]+$", re.MULTILINE), "blanks at the end of a line"),
    (re.compile(r"\r"), "a carriage return"),
]
TEXT = (".c", ".h", ".def", ".m", ".cc", ".cpp", ".hpp", ".py", ".sh", ".md", ".build", ".txt", ".map", ".in", ".pml",
        "bootstrap", ".ci/run", ".clang-format", ".clang-tidy", "LICENSE", ".1", ".7", ".5")


def check(root, _args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        if not path.endswith(TEXT) or path.startswith("perf/results/"):
            continue
        looked_at += 1
        text = common.read(root, path)
        for pattern, why in WORDS:
            for found in pattern.finditer(text):
                line = text.count("\n", 0, found.start()) + 1
                faults.append(f"{path}:{line}: {found.group(0).strip()!r}: {why}")
        if text and not text.endswith("\n"):
            faults.append(f"{path}: does not end with a newline")
    return looked_at, faults


def plant(root):
    common.append(root, "meson.build", "# TO" "DO later\n")
    return "meson.build ends with a leftover"


if __name__ == "__main__":
    common.main(check, plant)
