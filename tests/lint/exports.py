#!/usr/bin/env python3
"""The shared libraries export what is written, and nothing else.

Every hyp_ function or object that a public header of the trunk marks HYP_API is exported by libhypool.so and
libhypool-preload.so, one of a branch's header by libhypool-tensor.so, and no other hyp_ name is.
libhypool-preload.so exports the names of symbols-preload.txt besides; the others nothing besides.
args: pairs of a library's kind (hypool, preload or tensor) and its path.
"""
import re
import subprocess

import common

# HYP_API or HYP_HOT_API up to the name before the parenthesis, array bound or semicolon.
DECLARED = re.compile(r"\bHYP_(?:HOT_)?API\b[^;{]*?\b(hyp_[a-z0-9_]+)\s*[\(\[;]", re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
# Headers of the branch describe libhypool-tensor.
BRANCH_HEADERS = {"device.h", "tensor.h", "ops.h", "interop.h"}


def exported(library):
    done = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    names = set()
    for line in done.stdout.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] != "A":
            names.add(parts[2].split("@")[0])
    return names


def declared(root, branch):
    """Of the branch's headers, or of the trunk's."""
    names = set()
    for path in common.tree_files(root):
        if path.startswith("include/hypool/") and path.endswith(".h") and \
                (path.split("/")[-1] in BRANCH_HEADERS) == branch:
            names |= set(DECLARED.findall(COMMENT.sub(" ", common.read(root, path))))
    return names


def written(root, path):
    if path not in common.tree_files(root):
        return set()
    return {line.strip() for line in common.read(root, path).splitlines() if line.strip() and line[0] != "#"}


def check(root, args):
    looked_at, faults = 0, []
    api = {branch: declared(root, branch) for branch in (False, True)}
    if not all(api.values()):
        return 0, []
    for kind, library in zip(args[::2], args[1::2]):
        want = set(api[kind == "tensor"])
        if kind == "preload":
            want |= written(root, "tests/lint/symbols-preload.txt")
        have = exported(library)
        looked_at += len(have)
        faults += [f"{kind}: exports {name}, which is neither in a public header nor in the written list"
                   for name in sorted(have - want)]
        faults += [f"{kind}: does not export {name}" for name in sorted(want - have)]
    return looked_at, faults


def plant(root):
    for path in ("include/hypool/hypool.h", "include/hypool/tensor.h"):
        common.append(root, path, "HYP_API int hyp_planted(void);\n")
    return "a header of the trunk and one of the branch declare hyp_planted, which no library has"


if __name__ == "__main__":
    common.main(check, plant)
