"""Which allocators are compared, and where their libraries lie.

The peers are Debian's packages; hypool is the preload library of a build folder. glibc is preloaded by name as well:
a program that is linked with another malloc (Debian's redis-server with jemalloc) really runs on glibc's then.
"""

import os
import subprocess
from dataclasses import dataclass

SUBJECT = "hypool"

# name: (soname, Debian package)
PEERS = {
    "glibc": ("libc.so.6", "libc6"),
    "jemalloc": ("libjemalloc.so.2", "libjemalloc2"),
    "mimalloc": ("libmimalloc.so.2", "libmimalloc2.0"),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
}

PRELOAD_NAME = "libhypool-preload.so"


@dataclass(frozen=True)
class Allocator:
    """One library to preload. twin_of: this one is the A/A copy of another, and measures nothing but the noise."""
    name: str
    path: str
    twin_of: str = ""


def _library(soname):
    """The path of a system library, or None."""
    try:
        listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    except OSError:
        listing = ""
    machine = "x86-64" if os.uname().machine == "x86_64" else "AArch64"
    for line in listing.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.split(" ")[0] == soname and machine in name and os.path.exists(path):
            return path
    for folder in (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        path = os.path.join(folder, soname)
        if os.path.exists(path):
            return path
    return None


def find_hypool(root, build):
    """The preload library of the build folder, or of the first build*/ folder in the tree that has one."""
    folders = [build] if build else sorted(
        os.path.join(root, entry) for entry in os.listdir(root) if entry.startswith("build"))
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for path, _, files in os.walk(folder):
            if PRELOAD_NAME in files:
                return os.path.join(os.path.abspath(path), PRELOAD_NAME)
    return None


def choose(root, names, build, extra):
    """The allocators to run, the A/A twin last, and the reasons why others are missing.

    names: a list, or None for all. extra: "PATH" or "NAME=PATH" strings.
    """
    found, missing = [], []
    for name, (soname, package) in PEERS.items():
        path = _library(soname)
        if names and name not in names:
            continue
        if path:
            found.append(Allocator(name, path))
        else:
            missing.append(f"{name}: {soname} not found (Debian package {package})")
    if not names or SUBJECT in names:
        path = find_hypool(root, build)
        if path:
            found.append(Allocator(SUBJECT, path))
        else:
            missing.append(f"{SUBJECT}: no {PRELOAD_NAME} in {build or 'build*/'}")
    for text in extra:
        name, _, path = text.rpartition("=")
        if not os.path.exists(path):
            missing.append(f"{text}: no such file")
            continue
        found.append(Allocator(name or os.path.basename(path).split(".")[0], os.path.abspath(path)))
    if found:
        first = next((a for a in found if a.name == SUBJECT), found[0])
        found.append(Allocator(first.name + " A/A", first.path, twin_of=first.name))
    return found, missing
