#!/usr/bin/env python3
"""Static analysis: cppcheck over lib and interpose, and GCC's -fanalyzer over the trunk up to the pools, each against a
short list of exceptions (analysis-exceptions.txt): a finding that it does not name is a fault; an exception that no
finding needs is told, so that the list stays short. Args: the build folder (for config.h) and, when it is GCC, the compiler. A tool that is not
installed is named; without either the check is skipped.
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import common

FOLDERS = ("lib/base", "lib/os", "lib/core", "lib/heap", "lib/pool")
DEFINES = ["HYP_CHECKS=1", "HYP_DEBUG=0", "HYP_TEST_FAULTS=0", "HYP_PRELOAD=0", "HYP_BUILDING=1"]
OTHER_SYSTEMS = ("darwin",)


def cppcheck(root):
    command = ["cppcheck", "--std=c11", "--enable=warning,portability", "-q", "-j2", "-Ilib", "-Iinclude", "-U__APPLE__",
               "-DHYP_CHECKS=1", "--template={file}:{line}: {message}", "lib", "interpose"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return re.findall(r"^([^\s:]+:\d+: .*)$", done.stderr, re.M)


def analyzer(root, compiler, build, sources):
    config = os.path.join(build, "lib", "config.h")
    flags = ["-std=gnu11", "-O1", "-fanalyzer", "-D_GNU_SOURCE", "-Ilib", "-Iinclude", f"-I{build}/include", "-include",
             config, *("-D" + d for d in DEFINES)]

    def one(path):
        done = subprocess.run([compiler, *flags, "-c", path, "-o", os.devnull], cwd=root, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            return [f"{path}:1: does not compile for the analysis: {done.stderr[-300:]}"]
        found = re.findall(r"^([^\s:]+):(\d+):\d+: warning: (.*Wanalyzer.*)$", done.stderr, re.M)
        return [f"{os.path.normpath(file)}:{line}: {text}" for file, line, text in found]

    with ThreadPoolExecutor(2) as pool:
        return [finding for findings in pool.map(one, sources) for finding in findings]


def check(root, args):
    build, compiler = args[0], args[1] if len(args) > 1 else ""
    sources = [p for p in common.tree_files(root) if p.endswith(".c") and p.startswith(FOLDERS) and
               not any(other in p for other in OTHER_SYSTEMS)]
    findings, tools = [], []
    if not sources:
        return 0, []
    if shutil.which("cppcheck"):
        findings += cppcheck(root)
        tools.append("cppcheck")
    if compiler and shutil.which(compiler):
        findings += analyzer(root, compiler, build, sources)
        tools.append("-fanalyzer")
    if not tools:
        common.skip("SKIPPED: neither cppcheck nor GCC is here: no static analysis was made")
    known = common.exceptions(root, "tests/lint/analysis-exceptions.txt")
    unused, faults = set(known), []
    for finding in dict.fromkeys(findings):
        excuses = common.excused(root, finding, known)
        unused -= set(excuses)
        if not excuses:
            faults.append(finding)
    if len(tools) == 2:
        for exception in sorted(unused):
            print("an exception that nothing needs: " + " | ".join(exception))
    else:
        print(f"only {tools[0]} is here")
    return len(sources), faults


def plant(root):
    common.append(root, "lib/base/out.c", "\nint hypi_planted(void);\nint hypi_planted(void) {\n\tint *p = 0;\n\treturn *p;\n}\n")
    return "lib/base/out.c reads through a null pointer"


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    common.main(check, plant)
