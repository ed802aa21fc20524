#!/usr/bin/env python3
"""clang-tidy over lib and interpose: the families bugprone and concurrency on every file, and clang's analyser on the few
that read what another process or a file says (GCC's analyser and cppcheck look at the others: analysis.py). A finding
that tidy-exceptions.txt does not name is a fault; an exception that nothing needs is told. Args: the build folder, for
config.h. Not installed: skipped, by name.
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import common

# Left out, each because what it says is no defect here: parameters of one type side by side; names of one underscore;
# X-macros without brackets; conversions, which the compiler's -Wconversion and the code's own casts decide; products of
# constants; equal branches that say different things; assignments within conditions.
CHECKS = ("-*,bugprone-*,concurrency-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,"
          "-bugprone-macro-parentheses,-bugprone-narrowing-conversions,-bugprone-misplaced-widening-cast,"
          "-bugprone-implicit-widening-of-multiplication-result,-bugprone-branch-clone,"
          "-bugprone-assignment-in-if-condition,-concurrency-mt-unsafe")
ANALYSER = "-*,clang-analyzer-*,-clang-analyzer-security.insecureAPI.*,-clang-analyzer-optin.performance.Padding"
ANALYSED = ("lib/os/file.c", "lib/os/robust.c", "lib/pool/region.c", "lib/pool/shared.c", "lib/pool/shared_file.c")
LEFT_OUT = ("darwin", "lib/tensor/", "lib/kernels/", "lib/device/", "lib/interop/", "interpose/tensor/")
DEFINES = ["HYP_CHECKS=1", "HYP_DEBUG=0", "HYP_TEST_FAULTS=0", "HYP_PRELOAD=0", "HYP_BUILDING=1"]


def tidy(root, build, checks, sources):
    config = os.path.join(build, "lib", "config.h")
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-Ilib", "-Iinclude", "-I.", "-Iinterpose", f"-I{build}/include", "-include", config,
             *("-D" + d for d in DEFINES)]
    done = subprocess.run(["clang-tidy", "--quiet", f"--checks={checks}", *sources, "--", *flags], cwd=root,
                          capture_output=True, text=True, check=False)
    found = re.findall(r"^(\S+?):(\d+):\d+: (?:warning|error): (.*)$", done.stdout, re.M)
    return [f"{os.path.relpath(os.path.join(root, file), root)}:{line}: {text}" for file, line, text in found]


def check(root, args):
    if not shutil.which("clang-tidy"):
        common.skip("SKIPPED: clang-tidy is not installed")
    sources = [p for p in common.tree_files(root) if p.endswith(".c") and p.startswith(("lib/", "interpose/")) and
               not any(other in p for other in LEFT_OUT)]
    if not sources:
        return 0, []
    work = [(CHECKS, sources[i::8]) for i in range(8)]
    work += [(ANALYSER, [p]) for p in ANALYSED if os.path.exists(os.path.join(root, p))]
    with ThreadPoolExecutor(2) as pool:
        findings = [f for found in pool.map(lambda w: tidy(root, args[0], *w), work) for f in found]
    known = common.exceptions(root, "tests/lint/tidy-exceptions.txt")
    unused, faults = set(known), []
    for finding in dict.fromkeys(findings):
        excuses = common.excused(root, finding, known)
        unused -= set(excuses)
        if not excuses:
            faults.append(finding)
    for exception in sorted(unused):
        print("an exception that nothing needs: " + " | ".join(exception))
    return len(sources), faults


def plant(root):
    common.append(root, "lib/base/out.c", "\nint hypi_planted(const char *p);\nint hypi_planted(const char *p) {\n"
                  "\tchar to[64];\n\tmemset(to, sizeof to, 0);\n\treturn to[0] + *p;\n}\n")
    return "lib/base/out.c sets no byte of an array: memset's arguments change places"


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    common.main(check, plant)
