#!/usr/bin/env python3
"""Links and runs the programs of cxx_replace.cc: one a subset of the 20 replaceable operator new and delete forms.

The forms without alignment and those with it never call each other, and news call no deletes, so every subset of each
of the four groups is what matters; by default all of them appear, combined in 64 programs, with every single form,
every complement of one, and a seeded sample of arbitrary masks. --all links every subset of the ten forms of each family
(2048 programs). --in-library puts the replaced forms into a shared library of the program's instead.
Called by tests/interpose/meson.build; needs the C++ compiler at test time.
"""
import argparse
import concurrent.futures
import os
import random
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
FORMS = 20


def masks(every):
    if every:
        return [m for m in range(1024)] + [m << 10 for m in range(1, 1024)]
    chosen = [0, (1 << FORMS) - 1]
    for i in range(64):
        chosen.append((i % 16) | i << 4 | (i * 7 + 3) % 16 << 10 | (i * 29 + 11) % 64 << 14)
    for n in range(16):
        chosen.append(n | ((n * 21 + 5) % 64) << 4 | n << 10 | ((n * 13 + 1) % 64) << 14)
    for form in range(FORMS):
        chosen += [1 << form, ((1 << FORMS) - 1) ^ (1 << form)]
    chosen += [random.Random(2017).getrandbits(FORMS) for _ in range(24)]
    return list(dict.fromkeys(chosen))


def compile_objects(compiler, folder):
    source = os.path.join(here, "cxx_replace.cc")

    def one(form):
        target = os.path.join(folder, f"form{form}.o" if form is not None else "main.o")
        define = [f"-DFORM={form}"] if form is not None else []
        subprocess.run([*compiler, "-std=c++17", "-O1", "-fPIC", "-fsized-deallocation", *define, "-c", source, "-o", target],
                       check=True)
        return target

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = list(pool.map(one, [None, *range(FORMS)]))
    return made[0], made[1:]


def try_mask(mask, compiler, folder, main, forms, lib, in_library):
    program = os.path.join(folder, f"subset{mask:05x}")
    chosen = [forms[i] for i in range(FORMS) if mask >> i & 1]
    if in_library and chosen:
        library = os.path.join(folder, f"libsubset{mask:05x}.so")
        subprocess.run([*compiler, "-shared", "-o", library, *chosen], check=True)
        subprocess.run([*compiler, "-o", program, main, "-Wl,--no-as-needed", library, "-Wl,-rpath," + folder, "-rdynamic"],
                       check=True)
    else:
        subprocess.run([*compiler, "-o", program, main, *chosen], check=True)
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if lib:
        env["LD_PRELOAD"] = lib
    done = subprocess.run([program, f"{mask:x}"], env=env, capture_output=True, text=True, timeout=30, check=False)
    os.unlink(program)
    return mask, done.returncode, done.stderr


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", default="")
    p.add_argument("--all", action="store_true", default=os.environ.get("HYPOOL_TEST_LONG") == "1")
    p.add_argument("--in-library", action="store_true")
    p.add_argument("compiler", nargs="*", default=["c++"])
    a = p.parse_args()
    lib = os.path.abspath(a.lib) if a.lib else ""
    bad = []
    tried = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        program, forms = compile_objects(a.compiler, folder)
        jobs = [pool.submit(try_mask, m, a.compiler, folder, program, forms, lib, a.in_library) for m in masks(a.all)]
        for job in jobs:
            mask, status, err = job.result()
            tried += 1
            if status != 0:
                bad.append(mask)
                if len(bad) <= 5:
                    print(f"mask {mask:#07x}: exit status {status}\n" + "\n".join(err.splitlines()[:6]))
    print(f"{tried - len(bad)} of {tried} subsets pass")
    return bool(bad) or tried == 0


if __name__ == "__main__":
    sys.exit(main())
