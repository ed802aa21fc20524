"""What the lint checks share: the tree, its files, the verdict, and the self-test.

A check is a module with `check(root, args) -> (looked_at, faults)` and `plant(root)`, which plants the fault that the
check is for in a copy of the tree. `main(check, plant)` runs the check, or, with --self-test, proves on a copy that it
is green before the fault and red after it. A check that looked at nothing fails.
"""
import os
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def tree_files(root):
    """Paths of the project's own files, relative to the root: what git knows or would add, else a plain walk."""
    if os.path.exists(os.path.join(root, ".git")):
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                                capture_output=True, text=True)
        if listed.returncode == 0:
            return sorted(p for p in set(listed.stdout.splitlines()) if os.path.isfile(os.path.join(root, p)))
    found = []
    for folder, names, files in os.walk(root):
        names[:] = [n for n in names if n not in (".git", "build", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def exceptions(root, path):
    """The lines of a list of exceptions, cut at their bars: file, a part of the line of code, a part of the message, why."""
    if not os.path.exists(os.path.join(root, path)):
        return []
    lines = [line for line in read(root, path).splitlines() if line.strip() and not line.startswith("#")]
    cut = [tuple(cell.strip() for cell in line.split(" | ")) for line in lines]
    for line, cells in zip(lines, cut):
        if len(cells) != 4 or not all(cells):
            sys.exit(f"{path}: not four cells: {line}")
    return cut


def excused(root, finding, known):
    """Those of the exceptions that excuse "file:line: message": of this file, this line of code and this message."""
    path, number, message = finding.split(":", 2)
    lines = read(root, path).splitlines() if os.path.exists(os.path.join(root, path)) else []
    code = lines[int(number) - 1] if 0 < int(number) <= len(lines) else ""
    return [e for e in known if e[0] == path and e[1] in code and e[2] in message]


def append(root, path, text):
    """Plants text at the end of a file of the copy."""
    with open(os.path.join(root, path), "a", encoding="utf-8") as file:
        file.write(text)


def copy_tree(root, to):
    for path in tree_files(root):
        target = os.path.join(to, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(root, path), target)


def skip(why):
    print(why)
    sys.exit(SKIP)


def run_check(check, root, args, quiet=False):
    looked_at, faults = check(root, args)
    if not quiet:
        for fault in faults:
            print(fault)
        print(f"{looked_at} looked at, {len(faults)} faults")
    if looked_at == 0:
        faults = ["the check looked at nothing"]
        if not quiet:
            print(faults[0])
    return faults


def self_test(check, plant, root, args):
    with tempfile.TemporaryDirectory() as copy:
        copy_tree(root, copy)
        before = run_check(check, copy, args, quiet=True)
        planted = plant(copy)
        after = [f for f in run_check(check, copy, args, quiet=True) if f not in before]
    print(f"planted: {planted}")
    for fault in after:
        print(f"found:   {fault}")
    if not after:
        print("self-test: the check did not see the planted fault")
        return 1
    with tempfile.TemporaryDirectory() as empty:
        if not run_check(check, empty, args, quiet=True):
            print("self-test: the check is green on an empty tree")
            return 1
    return 0


def main(check, plant):
    """argv: [--self-test] ROOT [args...]"""
    argv = sys.argv[1:]
    testing = bool(argv) and argv[0] == "--self-test"
    if testing:
        argv = argv[1:]
    root, args = argv[0], argv[1:]
    if testing:
        sys.exit(self_test(check, plant, root, args))
    sys.exit(1 if run_check(check, root, args) else 0)
