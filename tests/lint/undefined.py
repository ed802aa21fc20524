#!/usr/bin/env python3
"""The libraries need nothing but the C library, and of it only what is written; the branch also what it is built on.

Every undefined symbol of a library stands in undefined-libc.txt; its NEEDED entries are the C library and the loader.
libhypool-tensor.so may also need what the trunk's public headers declare, hwloc, Zstandard, and the
mathematical library.
args: pairs of a library's kind (hypool, preload or tensor) and its path.
"""
import re
import subprocess

import common
import exports

LIST = "tests/lint/undefined-libc.txt"
NEEDED = re.compile(r"\(NEEDED\).*\[([^\]]+)\]")
LIBRARIES = ("libc.so", "libpthread.so", "libdl.so", "ld-linux", "libc.musl")
OF_TENSOR = ("libhypool.so", "libhwloc.so", "libm.so", "libzstd.so")
PREFIXES_OF_TENSOR = ("hwloc_", "ZSTD_")


def check(root, args):
    looked_at, faults = 0, []
    if LIST not in common.tree_files(root):
        return 0, []
    rows = [line.split() for line in common.read(root, LIST).splitlines() if line.strip() and line[0] != "#"]
    api = exports.declared(root, False)
    for kind, library in zip(args[::2], args[1::2]):
        tensor = kind == "tensor"
        allowed = {row[0] for row in rows if len(row) == 1 or kind in row[1:]}
        done = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name = line.split()[-1].split("@")[0]
            looked_at += 1
            if name not in allowed and not (tensor and (name in api or name.startswith(PREFIXES_OF_TENSOR))):
                faults.append(f"{kind}: needs {name}, which {LIST} does not allow")
        done = subprocess.run(["readelf", "-d", "-W", library], capture_output=True, text=True, check=True)
        for name in NEEDED.findall(done.stdout):
            looked_at += 1
            if not name.startswith(LIBRARIES + (OF_TENSOR if tensor else ())):
                faults.append(f"{kind}: needs the library {name}")
    return looked_at, faults


def plant(root):
    lines = common.read(root, LIST).splitlines()
    kept = [line for line in lines if line != "munmap"]
    with open(f"{root}/{LIST}", "w", encoding="utf-8") as file:
        file.write("\n".join(kept) + "\n")
    return "munmap is taken from the list, so the libraries use a symbol that is not allowed"


if __name__ == "__main__":
    common.main(check, plant)
