#!/usr/bin/env python3
"""A set-user-id program that is linked with the library does not listen to its caller's environment.

    setuid.py --lib LIBRARY -- CC...

The program is linked with a copy of the library that root owns, in a folder of its own, and run by `nobody` with
HYPOOL_CONF=stats:true: plain, it prints the statistics at exit; set-user-id, the kernel says AT_SECURE, it runs as
before and prints nothing. Skipped, with status 77, where we are not root or the folder is mounted nosuid.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

NOBODY = 65534
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(void) {
    size_t n = 0;
    for (int i = 0; i < 5000; i++) {
        char *volatile p = malloc((size_t)i + 1);
        p[i] = 1;
        p = realloc(p, (size_t)i * 2 + 1);
        n += (size_t)p[i];
        free(p);
    }
    printf("%zu secure %lu user %u\n", n, getauxval(AT_SECURE), (unsigned)geteuid());
    return 0;
}
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def run_as_nobody(program):
    env = {"PATH": "/usr/bin:/bin", "HYPOOL_CONF": "stats:true", "HYPOOL_STATS": "true"}
    done = subprocess.run([program], env=env, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True,
                          cwd="/", timeout=60, check=False)
    if done.returncode != 0:
        sys.exit(f"{program}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", required=True)
    p.add_argument("compiler", nargs="+")
    a = p.parse_args()
    if os.getuid() != 0:
        skip("only root can make a set-user-id program of another user")
    with tempfile.TemporaryDirectory(prefix="hypool-setuid-") as folder:
        os.chmod(folder, 0o755)
        lib = shutil.copy(a.lib, folder)
        source, plain, secure = (os.path.join(folder, name) for name in ("p.c", "plain", "secure"))
        with open(source, "w", encoding="utf-8") as file:
            file.write(PROGRAM)
        subprocess.run([*a.compiler, "-fno-builtin", source, lib, f"-Wl,-rpath,{folder}", "-o", plain], check=True)
        shutil.copy(plain, secure)
        os.chmod(plain, 0o755)
        os.chmod(secure, 0o4755)
        said, printed = run_as_nobody(plain)
        if said != f"5000 secure 0 user {NOBODY}\n" or "allocations" not in printed:
            sys.exit(f"plain: the statistics were not printed: {said!r} {printed!r}")
        said, printed = run_as_nobody(secure)
        if said == f"5000 secure 0 user {NOBODY}\n":
            skip(f"{folder} does not allow set-user-id programs")
        if said != "5000 secure 1 user 0\n" or printed:
            sys.exit(f"set-user-id: {said!r}, on descriptor 2: {printed[:300]!r}")
    print("a set-user-id program keeps to itself")


if __name__ == "__main__":
    main()
