#!/usr/bin/env python3
"""A library's static TLS stays under 64 bytes, so that dlopen finds room for it in the loader's reserve.

Without that a program that loads the library late fails with "cannot allocate memory in static TLS block".
args: pairs of a library's kind and its path. --self-test builds libraries of 4096 bytes and of none.
"""
import os
import re
import subprocess
import sys
import tempfile

LIMIT_BYTES = 64
SEGMENT = re.compile(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(0x[0-9a-f]+)", re.MULTILINE)
STATIC = re.compile(r"\(FLAGS\).*STATIC_TLS")


def tls_bytes(library):
    """Bytes of the TLS segment, None if the library has a thread-local variable but its segment was not read."""
    done = subprocess.run(["readelf", "-l", "-W", library], capture_output=True, text=True, check=True)
    if "LOAD" not in done.stdout:
        raise SystemExit(f"{library}: no program headers read")
    found = SEGMENT.search(done.stdout)
    return int(found.group(1), 16) if found else 0


def check(pairs):
    faults = 0
    for kind, library in zip(pairs[::2], pairs[1::2]):
        size = tls_bytes(library)
        print(f"{kind}: {size} bytes of static TLS, limit {LIMIT_BYTES}")
        faults += size >= LIMIT_BYTES
    return faults


def self_test(compiler):
    with tempfile.TemporaryDirectory() as folder:
        sizes = []
        for count in (4096, 0):
            source = os.path.join(folder, "tls.c")
            with open(source, "w", encoding="utf-8") as file:
                file.write(f"__thread char big[{count}] = {{1}};\nchar *at(void) {{ return big; }}\n" if count
                           else "int at(void) { return 1; }\n")
            library = os.path.join(folder, f"tls{count}.so")
            subprocess.run(compiler.split() + ["-shared", "-fPIC", "-o", library, source], check=True)
            sizes.append(check(["planted", library]))
    return 0 if sizes == [1, 0] else 1


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        sys.exit(self_test(sys.argv[2]))
    if len(sys.argv) < 3:
        print("the check looked at nothing")
        sys.exit(1)
    sys.exit(1 if check(sys.argv[1:]) else 0)
