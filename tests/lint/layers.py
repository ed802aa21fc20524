#!/usr/bin/env python3
"""Includes go down only.

Trunk: base < os < core < heap < pool < tracking < cleanup < interpose; each sees what is to its left. Branch: kernels
sees base and os; device up to pool; tensor device, kernels and up to pool; interop tensor and what tensor sees; metal
device's headers. The trunk never includes the branch. Nobody writes "../".
"""
import re

import common

TRUNK = ["base", "os", "core", "heap", "pool", "tracking", "cleanup", "interpose"]
UP_TO_POOL = set(TRUNK[:TRUNK.index("pool") + 1])
SEES = {layer: set(TRUNK[:at + 1]) for at, layer in enumerate(TRUNK)}
SEES["kernels"] = {"kernels", "base", "os"}
SEES["device"] = {"device"} | UP_TO_POOL
SEES["tensor"] = {"tensor", "device", "kernels"} | UP_TO_POOL
SEES["interop"] = {"interop"} | SEES["tensor"]
SEES["metal"] = {"metal", "device", "base"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def layer_of(path):
    parts = path.split("/")
    if parts[0] == "lib" and len(parts) > 2:
        return parts[1]
    return parts[0] if parts[0] in ("interpose", "metal") else None


def check(root, _args):
    looked_at, faults = 0, []
    for path in common.tree_files(root):
        layer = layer_of(path)
        if layer is None or not path.endswith((".c", ".h", ".m", ".cc", ".cpp", ".def")):
            continue
        if layer not in SEES:
            faults.append(f"{path}: the folder {layer} is not in the layers of tests/lint/layers.py")
            continue
        looked_at += 1
        for name in INCLUDE.findall(common.read(root, path)):
            if name == "config.h":
                continue
            to = name.split("/")[0] if "/" in name else None
            if ".." in name.split("/"):
                faults.append(f'{path}: includes "{name}"; write it from the folder above, as "core/span.h"')
            elif to is None:
                faults.append(f'{path}: includes "{name}"; name its folder, as "core/span.h"')
            elif to not in SEES[layer]:
                faults.append(f'{path}: {layer} must not include "{name}"')
    return looked_at, faults


def plant(root):
    path = next(p for p in common.tree_files(root) if layer_of(p) == "base" and p.endswith(".c"))
    common.append(root, path, '#include "heap/heap.h"\n')
    return f'{path} includes "heap/heap.h"'


if __name__ == "__main__":
    common.main(check, plant)
