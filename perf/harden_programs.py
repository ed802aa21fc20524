#!/usr/bin/env python3
"""harden_programs.py LIBHYPOOL_PRELOAD [ROUNDS]: what hardening costs real programs, beside peers' own checks.

python3 (parses, builds and prints JSON, compiles its own library's sources) and gcc (cc1 and as, of a generated file of
1500 functions, -O1) run under each allocator and level in turn, ROUNDS times over, so that what else the machine does
falls on all alike. CSV on descriptor 1, one line a run: processor seconds (user and system, children included: less
disturbed by other work than wall time) and the largest child's peak resident KiB. A peer that is not installed is named
on descriptor 2 and left out. Called by hand; docs/design/harden.md shows the medians.
"""
import os
import subprocess
import sys
import tempfile

PYTHON = r"""
import json, ast, os
rows = [{"id": i, "name": "n%d" % i, "tags": [str(j) for j in range(i % 7)], "x": i / 3} for i in range(20000)]
for _ in range(3):
    rows = json.loads(json.dumps(rows))
trees = []
where = os.path.dirname(os.__file__)
for name in ["argparse", "ast", "inspect", "typing", "tarfile", "subprocess", "shutil", "pickle", "datetime"]:
    trees.append(ast.parse(open(os.path.join(where, name + ".py"), encoding="utf-8").read()))
    compile(trees[-1], name, "exec")
words = {}
for tree in trees:
    for node in ast.walk(tree):
        words.setdefault(type(node).__name__, []).append(str(getattr(node, "lineno", 0)))
"""


def c_source(path):
    with open(path, "w", encoding="utf-8") as out:
        out.write("struct node { struct node *next; long value; char name[16]; };\n")
        for i in range(1500):
            out.write(f"long work{i}(struct node *n, long a, long b) {{\n"
                      f"  long sum = a * {i} + b;\n  for (; n; n = n->next) {{\n"
                      f"    if (n->value > {i}) sum += n->value * a; else sum ^= n->value << {i % 13};\n"
                      f"    for (int k = 0; k < 16; k++) sum += n->name[k] == '{chr(97 + i % 26)}';\n"
                      "  }\n  return sum;\n}\n")


def measured(command, env):
    """Processor seconds and peak KiB of a command and its children."""
    pid = os.fork()
    if pid == 0:
        os.execvpe(command[0], command, env)
    _, status, used = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status:#x}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def configurations(lib):
    folder = f"/usr/lib/{os.uname().machine}-linux-gnu"
    yield "glibc", "plain", {}
    for level in "0123":
        yield "hypool", level, {"LD_PRELOAD": os.path.abspath(lib), "HYPOOL_HARDEN": level}
    peers = [("jemalloc", "plain", "libjemalloc.so.2", {}),
             ("jemalloc", "junk:true;zero:true", "libjemalloc.so.2", {"MALLOC_CONF": "junk:true,zero:true"}),
             ("mimalloc", "plain", "libmimalloc.so.2", {}),
             ("mimalloc", "secure", "libmimalloc-secure.so.2", {}),
             ("glibc", "MALLOC_CHECK_=3", "libc_malloc_debug.so.0", {"MALLOC_CHECK_": "3"})]
    for name, level, soname, env in peers:
        if os.path.exists(f"{folder}/{soname}"):
            yield name, level, dict(env, LD_PRELOAD=f"{folder}/{soname}")
        else:
            print(f"{soname} is not installed: left out", file=sys.stderr)


def main():
    lib, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), os.uname().machine)
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    print(f"# machine: {cpu}, {os.cpu_count()} processors; kernel: {os.uname().release}; "
          f"commit: {commit.stdout.strip() or 'unknown'}")
    print(f"# command: perf/harden_programs.py libhypool-preload.so {rounds}")
    print("program,allocator,level,round,cpu_s,peak_kib")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
    with tempfile.TemporaryDirectory() as work:
        c_source(f"{work}/a.c")
        programs = {"python3": [python, "-I", "-c", PYTHON], "gcc": ["gcc", "-O1", "-c", f"{work}/a.c", "-o", f"{work}/a.o"]}
        ways = list(configurations(lib))
        plain = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "HYPOOL_HARDEN", "MALLOC_PERTURB_")}
        for n in range(1, rounds + 1):
            for program, command in programs.items():
                for name, level, env in ways:
                    seconds, peak = measured(command, dict(plain, **env))
                    print(f"{program},{name},{level},{n},{seconds:.3f},{peak}", flush=True)


if __name__ == "__main__":
    main()
