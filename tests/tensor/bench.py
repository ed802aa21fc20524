#!/usr/bin/env python3
"""hypool-tensor bench tells each operation's calls, time, FLOP/s and bytes/s, and its memory figures beside STREAM's.

usage: bench.py COMMAND. Figures are only held to be figures: a busy machine proves nothing about speed.
"""
import csv
import subprocess
import sys

OPERATIONS = ["binary", "unary", "where", "copy", "reduce", "softmax", "rms_norm", "matmul", "matmul_ternary", "quantize"]


def run(*args, rc=0):
    done = subprocess.run([sys.argv[1], *args], capture_output=True, text=True, timeout=240)
    assert done.returncode == rc, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout


def main():
    rows = list(csv.DictReader(run("bench", "--seconds", "0.02", "--side", "300", "--threads", "2", "--rounds", "2", "--csv").splitlines()))
    by_kind = {kind: [r for r in rows if r["kind"] == kind] for kind in ("memory", "ceiling", "operation")}
    assert [r["name"] for r in by_kind["operation"]] == OPERATIONS, by_kind["operation"]
    tops = {r["name"]: float(r["gflops"] or r["gbytes_per_s"]) for r in by_kind["ceiling"]}
    assert all(tops[name] > 0.1 for name in ("f32", "int8", "read", "stream")), tops
    for r in by_kind["operation"]:
        calls, seconds, gflops, gbytes = int(r["calls"]), float(r["seconds"]), float(r["gflops"]), float(r["gbytes_per_s"])
        assert calls >= 1 and 0 < seconds < 100 and gbytes > 0, r
        assert (gflops > 0) == (r["name"] != "copy"), r
        top = tops["int8" if r["name"] == "matmul_ternary" else "f32"]
        assert abs(float(r["of_flops"]) - gflops / top) < 0.01 * gflops / top + 1e-4, r
        memory = float(r["beside_gbytes_per_s"])  # measured around it, for its mix of reads and writes
        assert memory > 0.1 and abs(float(r["of_bytes"]) - gbytes / memory) < 0.01 * gbytes / memory + 1e-4, r
    # A product of 300^3 does 54e6 operations a call.
    product = next(r for r in by_kind["operation"] if r["name"] == "matmul")
    assert abs(float(product["gflops"]) * float(product["seconds"]) / int(product["calls"]) - 0.054) < 0.001, product
    for r in by_kind["memory"]:
        assert float(r["gbytes_per_s"]) > 0.1, r
        if r["beside_gbytes_per_s"]:
            ratio = float(r["gbytes_per_s"]) / float(r["beside_gbytes_per_s"])
            assert 0.3 < ratio < 3, r
            print(f"{r['name']}: {ratio:.2f} of STREAM beside it")
    text = run("bench", "--seconds", "0.01", "--side", "64", "--rounds", "1")
    assert all(name in text for name in OPERATIONS + ["STREAM", "GFLOP/s", "GB/s", "of read", "of copy", "of triad"]), text
    assert run("devices").startswith("0: host, ")
    for bad in ([], ["nothing"], ["bench", "--threads"], ["bench", "--threads", "x"], ["bench", "--side", "0"], ["bench", "--rounds", "0"],
                ["bench", "--seconds", "-1"], ["bench", "--what", "1"], ["devices", "1"]):
        run(*bad, rc=2)


if __name__ == "__main__":
    main()
