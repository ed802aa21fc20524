#!/usr/bin/env python3
"""Every script is sound: shell scripts by shellcheck, Python files by the compiler. A script is known by its first
line or its name, so that a new one is looked at without being named here.
"""
import os
import shutil
import subprocess

import common


def kind_of(root, path):
    with open(os.path.join(root, path), "rb") as file:
        first = file.readline(200)
    if path.endswith(".py") or first.startswith(b"#!") and b"python" in first:
        return "python"
    if path.endswith(".sh") or first.startswith(b"#!") and first.rstrip().endswith((b"sh", b"bash")):
        return "shell"
    return None


def check(root, _args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        kind = kind_of(root, path)
        if kind == "python":
            looked_at += 1
            try:
                compile(common.read(root, path), path, "exec")
            except SyntaxError as error:
                faults.append(f"{path}:{error.lineno}: {error.msg}")
        elif kind == "shell":
            looked_at += 1
            done = subprocess.run(["shellcheck", "--format=gcc", "--exclude=SC2015", path], cwd=root, capture_output=True, text=True)
            faults += done.stdout.splitlines()
    return looked_at, faults


def plant(root):
    common.append(root, "bootstrap", "rm -rf $unquoted/*\n")
    return "bootstrap ends with an unquoted variable"


if __name__ == "__main__":
    if shutil.which("shellcheck") is None:
        common.skip("shellcheck is not installed")
    common.main(check, plant)
