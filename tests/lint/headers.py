#!/usr/bin/env python3
"""Each public header compiles alone, as C11 and as C++17, pedantically and without a warning.

args: the C compiler, the C++ compiler (or an empty string when there is none).
"""
import os
import subprocess
import tempfile

import common

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def check(root, args):
    c, cxx = args
    looked_at, faults = 0, []
    modes = [(c.split(), "c", "-std=c11")] + ([(cxx.split(), "c++", "-std=c++17")] if cxx else [])
    for path in common.tree_files(root):
        if not (path.startswith("include/hypool/") and path.endswith((".h", ".hpp"))):
            continue
        looked_at += 1
        for compiler, language, standard in modes:
            if path.endswith(".hpp") and language == "c":
                continue
            with tempfile.TemporaryDirectory() as folder:
                source = os.path.join(folder, "alone.c" if language == "c" else "alone.cc")
                with open(source, "w", encoding="utf-8") as file:
                    file.write(f"#include <{path[len('include/'):]}>\n")
                done = subprocess.run(compiler + ["-x", language, standard] + FLAGS
                                      + ["-I", os.path.join(root, "include"), source],
                                      capture_output=True, text=True)
            if done.returncode != 0:
                first = next((line for line in done.stderr.splitlines() if "error" in line), "does not compile")
                faults.append(f"{path} as {standard[5:]}: {first}")
    return looked_at, faults


def plant(root):
    path = next(p for p in common.tree_files(root) if p.startswith("include/hypool/") and p.endswith(".h"))
    common.append(root, path, "size_of_nothing hypool_planted(void);\n")
    return f"{path} uses a type that nobody declared"


if __name__ == "__main__":
    common.main(check, plant)
