#!/usr/bin/env python3
"""Every C and C++ file is as .clang-format lays it out. Needs clang-format 14: other versions differ in detail."""
import os
import re
import shutil
import subprocess

import common

CODE = (".c", ".h", ".cc", ".cpp", ".hpp", ".m")


def check(root, _args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        if not path.endswith(CODE):
            continue
        looked_at += 1
        done = subprocess.run(["clang-format", f"--style=file:{root}/.clang-format", os.path.join(root, path)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            faults.append(f"{path}: {done.stderr.strip()}")
            continue
        now, want = common.read(root, path).splitlines(), done.stdout.splitlines()
        if now != want:
            line = next((i for i, (a, b) in enumerate(zip(now, want)) if a != b), min(len(now), len(want))) + 1
            faults.append(f"{path}:{line}: not as clang-format lays it out")
    return looked_at, faults


def plant(root):
    os.makedirs(os.path.join(root, "lib/base"), exist_ok=True)
    common.append(root, "lib/base/planted.c", "int   planted( void ){return 1 ;}\n")
    return "lib/base/planted.c has a badly laid out function"


if __name__ == "__main__":
    if shutil.which("clang-format") is None:
        common.skip("clang-format is not installed")
    version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    if not re.search(r"version 14\.", version):
        common.skip(f"needs clang-format 14, here is {version.strip()}")
    common.main(check, plant)
