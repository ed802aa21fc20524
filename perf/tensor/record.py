#!/usr/bin/env python3
"""Writes the CSVs of the tensor library that one program prints: where they come from, then what it prints.

    record.py BUILD WHAT OUTPUT      after ninja -C BUILD and the targets named below

WHAT: ops      tensor_ops on one thread and on two                     (perf/tensor_ops/tensor_ops)
      memory   four runs of hypool-tensor bench: memory beside STREAM  (lib/interop/hypool-tensor)
      reading  ways to read main memory                                (perf/tensor_ops/reading)
      sets     every vector set's kernels, timed                       (tests/kernels/checkkernels)
      ref      the reference's
      emulated the same of the arm64 sets under qemu, ternary only: the emulator's time, not a processor's
               (what tests/kernels/qemu.sh built)
With --append the rows go behind those of OUTPUT.
"""
import os
import subprocess
import sys

import provenance

PROGRAMS = {
    "ops": [["perf/tensor_ops/tensor_ops", "1"], ["perf/tensor_ops/tensor_ops", "2"]],
    "memory": [["lib/interop/hypool-tensor", "bench", "--rounds", "15", "--seconds", "0.01", "--side", "256", "--csv"]] * 4,
    "reading": [["perf/tensor_ops/reading"]],
    "sets": [["tests/kernels/checkkernels", "--bench", "--csv", "--set", name] for name in
             ("avx2", "avx512", "avx512vnni")],
    "ref": [["tests/kernels/checkkernels", "--bench", "--csv", "--set", "ref"]],
    "emulated": [["qemu-aarch64", "-cpu", "max", "tests/kernels/kernels-arm64/checkkernels", "--bench", "ternary", "--csv",
                  "--set", name] for name in ("neon", "dotprod", "i8mm")],
}


def kept(what, number, line):
    """A line of the CSV for a line of the program, or None."""
    if what != "memory":
        return line if number == 1 or not line.startswith("set,") else None
    if line.startswith("kind,"):
        return "run,name,gbps,stream_beside_gbps,ratio" if number == 1 else None
    if not line.startswith("memory,"):
        return None
    field = line.split(",")
    return f"{number},{field[1]},{field[5]},{field[6]},{field[8]}"


def main():
    args = [a for a in sys.argv[1:] if a != "--append"]
    build, what, output = args
    programs = PROGRAMS[what]
    commands = list(dict.fromkeys(" ".join(p) for p in programs))
    times = f", {len(programs)} times" if len(commands) < len(programs) else ""
    before = provenance.header("; ".join(commands) + times)
    body = []
    for number, (program, *arguments) in enumerate(programs, 1):
        command = [program] + [os.path.join(build, a) if os.path.exists(os.path.join(build, a)) else a for a in arguments]
        if program != "qemu-aarch64":
            command[0] = os.path.join(build, program)
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        body += [k for k in (kept(what, number, line) for line in printed.splitlines()) if k is not None]
    with open(output, "a" if "--append" in sys.argv else "w", encoding="utf-8") as f:
        f.write(before + "\n".join(body) + "\n")


if __name__ == "__main__":
    main()
