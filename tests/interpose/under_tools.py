#!/usr/bin/env python3
"""The user's tools still work on a preloaded program (RELIABILITY.md row 32): valgrind, AddressSanitizer, gdb, strace.

    under_tools.py --lib LIBRARY valgrind|valgrind_leak|asan_gcc|asan_clang|asan_after|gdb

valgrind: starts, runs to the end, and reports no error of ours. valgrind_leak: with the library named as the
allocator (--soname-synonyms), memcheck finds the planted leak and the planted read after free. asan_*: a program built
with AddressSanitizer still stops at its use after free. asan_after: our library after the sanitizer's runtime. gdb: a
call of malloc from the debugger. A tool that is not installed is named, and the exit status is 77.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

FAULTY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char *volatile lost;
int main(int argc, char **argv) {
    (void)argv;
    char *volatile p = malloc(1234);
    memset(p, 1, 1234);
    lost = malloc(4321);
    lost = NULL;
    free(p);
    if (argc > 1) printf("%d\n", p[10]); /* after free */
    for (size_t i = 0; i < 100000; i++) {
        char *volatile q = calloc(1, i % 5000 + 1);
        free(q);
    }
    puts("the end");
    return 0;
}
"""


def need(tool):
    if not shutil.which(tool):
        print(f"skipped: {tool} is not installed")
        sys.exit(77)


def build(folder, compiler, *flags):
    source, program = os.path.join(folder, "faulty.c"), os.path.join(folder, "faulty")
    with open(source, "w", encoding="utf-8") as file:
        file.write(FAULTY)
    subprocess.run([compiler, "-O0", "-g", "-w", "-fno-builtin", *flags, source, "-o", program], check=True)
    return program


def without_debug_info(lib, folder):
    """The same code without its debug information: valgrind 3.19 gives up on the DWARF 5 that Clang writes."""
    need("objcopy")
    copy = os.path.join(folder, os.path.basename(lib))
    subprocess.run(["objcopy", "--strip-debug", lib, copy], check=True)
    return copy


def run(command, **env):
    base = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(command, env={**base, **env}, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def expect(name, status, output, wanted_status, *texts, never=()):
    missing = [t for t in texts if t not in output]
    present = [t for t in never if t in output]
    if (wanted_status is None or status == wanted_status) and not missing and not present:
        print(f"{name}: as it should be")
        return 0
    print(f"{name}: exit status {status}, wanted {wanted_status}; missing {missing}; unwanted {present}\n{output[-3000:]}")
    return 1


def valgrind(lib, folder):
    need("valgrind")
    lib, program = without_debug_info(lib, folder), build(folder, "cc")
    return expect("valgrind", *run(["valgrind", "--error-exitcode=9", "--trace-children=no", program], LD_PRELOAD=lib), 0,
                  "the end", "ERROR SUMMARY: 0 errors", never=["hypool: "])


def valgrind_leak(lib, folder):
    need("valgrind")
    lib, program = without_debug_info(lib, folder), build(folder, "cc")
    status, out = run(["valgrind", "--leak-check=full", f"--soname-synonyms=somalloc={os.path.basename(lib)}", program,
                       "fault"], LD_PRELOAD=lib)
    return expect("valgrind, allocator named", status, out, 0, "the end", "4,321 bytes in 1 blocks", "Invalid read",
                  never=["hypool: "])


def asan(lib, folder, compiler, *flags):
    need(compiler)
    program = build(folder, compiler, "-fsanitize=address", *flags)
    env = {"LD_PRELOAD": lib, "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
    bad = expect("asan, clean run", *run([program], **env), 0, "the end", never=["hypool: ", "ERROR"])
    return bad + expect("asan, use after free", *run([program, "fault"], **env), None, "heap-use-after-free",
                        never=["hypool: "])


def asan_after(lib, folder):
    """The runtime first, as its own documentation asks, and our library after it: the sanitizer must win."""
    need("gcc")
    program = build(folder, "gcc", "-fsanitize=address")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True,
                             check=True).stdout.strip()
    runtime = os.path.realpath(runtime)
    env = {"LD_PRELOAD": f"{runtime} {lib}", "ASAN_OPTIONS": "detect_leaks=0"}
    bad = expect("asan first, clean run", *run([program], **env), 0, "the end", never=["hypool: ", "ERROR"])
    return bad + expect("asan first, use after free", *run([program, "fault"], **env), None, "heap-use-after-free",
                        never=["hypool: "])


def gdb(lib, folder):
    need("gdb")
    program = build(folder, "cc")

    def call(*before):
        return run(["gdb", "-batch", *before, "-ex", "break puts", "-ex", "run", "-ex",
                    "print *(char*)memset(((void*(*)(unsigned long))malloc)(100), 42, 100)", "-ex", "continue", program])

    # gdb 13 can call no function at all on processors whose registers it does not know (AMX).
    if "Couldn't write extended state status" in call()[1]:
        print("skipped: this gdb can call no function on this processor, with or without the library")
        sys.exit(77)
    status, out = call("-ex", f"set environment LD_PRELOAD {lib}")
    return expect("gdb", status, out, 0, "42 '*'", "exited normally")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", required=True)
    p.add_argument("what")
    a = p.parse_args()
    lib = os.path.abspath(a.lib)
    with tempfile.TemporaryDirectory() as folder:
        if a.what == "asan_gcc":
            return asan(lib, folder, "gcc", "-static-libasan")
        if a.what == "asan_clang":
            return asan(lib, folder, "clang")
        return {"valgrind": valgrind, "valgrind_leak": valgrind_leak, "asan_after": asan_after, "gdb": gdb}[a.what](
            lib, folder)


if __name__ == "__main__":
    sys.exit(main())
