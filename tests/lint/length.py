#!/usr/bin/env python3
"""Long files and functions, for a person to look at: about 600 lines a file, 60 a function. It reports and passes;
only a file of more than twice the length is a fault. A function is what begins in column 0 with a brace at the end of
the line and ends with a brace in column 0.
"""
import os

import common

FILE_LINES = 600
FUNCTION_LINES = 60


def functions(lines):
    start = None
    for number, line in enumerate(lines):
        opens = line.rstrip().endswith("{") and ")" in line and line[:1] not in (" ", "\t", "#", "}")
        if start is None and opens:
            start = number
        elif start is not None and line.startswith("}"):
            yield start, number - start + 1
            start = None


def check(root, _args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        if not path.endswith((".c", ".h", ".m")):
            continue
        looked_at += 1
        lines = common.read(root, path).splitlines()
        if len(lines) > 2 * FILE_LINES:
            faults.append(f"{path}: {len(lines)} lines; a file has one subject")
        elif len(lines) > FILE_LINES:
            print(f"long file: {path}, {len(lines)} lines")
        for start, length in functions(lines):
            if length > FUNCTION_LINES:
                print(f"long function: {path}:{start + 1}, {length} lines")
    return looked_at, faults


def plant(root):
    os.makedirs(os.path.join(root, "lib/base"), exist_ok=True)
    common.append(root, "lib/base/planted.c", "/* long */\n" * (2 * FILE_LINES + 1))
    return "lib/base/planted.c has more than twice the length of a file"


if __name__ == "__main__":
    common.main(check, plant)
