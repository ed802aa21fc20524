#!/usr/bin/env python3
"""The docs tell the truth about the tree.

In every Markdown file: a relative link leads to a file, and its #anchor to a heading; a path in `code` that begins
with a folder of the project exists (with * as a wildcard, relative to the root); a fenced block marked `sh run` is run
in a scratch folder and must succeed. HYPOOL_SOURCE names the tree there and HYPOOL_BUILD the build.
args: the build's folder.
"""
import glob
import os
import re
import subprocess
import tempfile

import common

FOLDERS = ("include/", "lib/", "interpose/", "metal/", "tests/", "perf/", "docs/", ".ci/", "bootstrap")
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
PATH = re.compile(r"^[\w./*{},-]+$")


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in HEADING.findall(FENCE.sub("", text))}


def check_links(root, path, prose):
    for target in LINK.findall(prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(os.path.join(root, file)):
            yield f"{path}: the link {target} leads nowhere"
        elif anchor and file.endswith(".md") and anchor not in anchors(common.read(root, file)):
            yield f"{path}: the link {target} names no heading"


def check_paths(root, path, prose):
    for code in CODE.findall(prose):
        name = code.split(":")[0].removeprefix("./")
        if not name.startswith(FOLDERS) or not PATH.match(name) or name.startswith("build"):
            continue
        pattern = re.sub(r"\{[^}]*\}", "*", name)
        if not glob.glob(os.path.join(root, pattern)):
            yield f"{path}: `{code}` names no file of the tree"


def run_blocks(root, path, text, build):
    for info, block in FENCE.findall(text):
        if info.split()[1:2] != ["run"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, capture_output=True, text=True,
                                  env=dict(os.environ, HYPOOL_SOURCE=root, HYPOOL_BUILD=build), timeout=300)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            yield f"{path}: the block `{block.splitlines()[0]}` failed: {last}"


def check(root, args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        if not path.endswith(".md"):
            continue
        looked_at += 1
        text = common.read(root, path)
        prose = FENCE.sub("", text)
        faults += check_links(root, path, prose)
        faults += check_paths(root, path, prose)
        faults += run_blocks(root, path, text, args[0])
    return looked_at, faults


def plant(root):
    common.append(root, "README.md", "See `lib/core/nowhere.c` and [there](docs/nowhere.md).\n\n```sh run\nfalse\n```\n")
    return "README.md names a file that is not there, links to another, and has a command that fails"


if __name__ == "__main__":
    common.main(check, plant)
