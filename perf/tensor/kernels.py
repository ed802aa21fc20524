#!/usr/bin/env python3
"""The tensor kernels beside OpenBLAS and NumPy, and beside this machine's own ceilings, in one run.

    kernels.py MODULE [-o CSV [--append]] [--openblas PATH] [--threads 1,2] [--samples N] [--mask M] [--filter TEXT]

MODULE is the shared module built from kernels_bench.c. Samples of ours and of the peers alternate; the best and the
median of each are kept. A sample during which the thread was not on a processor all the time is taken again; a row
without one clean sample is left out. A row's ceiling is what the hardware reaches in the same run: multiply-adds, int8 dot products,
or bytes read from an array of the row's size. Needs Debian's python3-numpy and libopenblas0-pthread; a peer that is
missing is named, and its columns stay empty.
"""
import argparse
import csv
import ctypes
import os
import statistics
import sys
import time

import provenance

try:
    import numpy
except ImportError:
    numpy = None

FIELDS = ["sets", "row", "threads", "unit", "ours_best", "ours_median", "peer", "peer_best", "peer_median", "ratio_best",
          "ceiling", "of_ceiling", "bar", "bar_of_ceiling", "verdict", "samples"]


# What a row must reach: its rate, and what part that was of the ceiling of the machine that the bars were set on (one of
# 2.5 GHz with AVX-512 and VNNI: 152 and 303 GFLOP/s on one and two threads, 605 and 1208 GOP/s, memory read at 11.9 and
# 23.4 GB/s, the last cache at 25.4 and 48). A row that reaches the part is met; one that only reaches the rate says so.
TOP = {"fma": (152, 303), "dot": (605, 1208), "1e8": (11.9, 23.4), "1e6": (25.4, 48)}
BARS = {  # row: ceiling, bar on one thread, on two
    "sgemm 64^3": ("fma", 140, None), "sgemm 256^3": ("fma", 140, 215), "sgemm 512^3": ("fma", 140, 240),
    "sgemm 1024^3": ("fma", 140, 255), "sgemm 2048^3": ("fma", 140, 265), "sgemv 4096^2": ("1e8", 11.6, 22.7),
    "sgemm 32x4096x4096 nt": ("fma", 100, 180), "sgemm 128x4096x4096 nt": ("fma", 115, 200),
    "ternary gemv cold 2560x2560": ("1e8", 11.3, 20), "ternary gemv hot 2560x2560": ("1e6", 23.4, 39),
    "ternary gemm b32 2560x2560": ("dot", 380, 740), "ternary gemm b128 2560x2560": ("dot", 430, 800),
    "add 1e8": ("1e8", 11.3, 20.5), "mul 1e8": ("1e8", 11.3, 20.5), "sum 1e8": ("1e8", 11.6, None),
    "max 1e8": ("1e8", 11.6, None), "sum 1e6": ("1e6", 24, None), "max 1e6": ("1e6", 24, None),
    "sum axis 0 1e8": ("1e8", 11, None), "transpose 1e8": ("1e8", 5, None), "transpose 1e6": ("1e6", 12, None),
    "rms_norm 1e6": ("1e6", 15, None), "softmax 1e6": ("1e6", 10, None), "absmax int8 1e6": ("1e6", 14, None),
    "absmax int8 1e8": ("1e8", 7.9, None), "absmean ternary 1e6": ("1e6", 10, None),
    "absmean ternary 1e8": ("1e8", 4.8, None), "f32->f16 1e6": ("1e6", 10, None), "f16->f32 1e6": ("1e6", 10, None),
}
AVX2_GEMM = 0.9  # with AVX2 alone: of what the exact idiom reaches in a loop of its own
TIE = 0.97       # of a peer: within the samples' own spread


def bar_of(name, threads, mask):
    """Rate and part of the ceiling, or None."""
    if mask == 1:  # AVX2
        return (0, AVX2_GEMM) if name.startswith("ternary gemm") else None
    kind, *bars = BARS.get(name, (None, None, None))
    if threads > 2 or bars[threads - 1] is None:
        return None
    return bars[threads - 1], bars[threads - 1] / TOP[kind][threads - 1]


def verdict(bar, rate, of_ceiling, ratio):
    if ratio is not None and ratio < TIE:
        return "behind the peer"
    if bar is None:
        return ""
    if of_ceiling >= bar[1]:
        return "met"
    return "rate met" if 0 < bar[0] <= rate else "missed"


class Bench:
    def __init__(self, args):
        self.lib = ctypes.CDLL(args.module)
        self.lib.kb_sample.restype = ctypes.c_double
        self.lib.kb_sample.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int] + [ctypes.c_size_t] * 3
        self.lib.kb_amount.restype = ctypes.c_double
        self.lib.kb_amount.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        mask = self.lib.kb_open(args.openblas.encode(), args.mask)
        self.openblas = mask != -1
        if not self.openblas:
            print("OpenBLAS could not be opened: its rows have no peer", file=sys.stderr)
            mask = self.lib.kb_open(None, args.mask)
        self.mask, self.args, self.rows = mask, args, []
        self.arrays = {}
        if numpy is None:
            print("NumPy is not installed: its rows have no peer", file=sys.stderr)
        else:
            for name in ("kb_a", "kb_b", "kb_c"):
                address = ctypes.POINTER(ctypes.c_float).in_dll(self.lib, name)
                self.arrays[name[-1]] = numpy.ctypeslib.as_array(address, shape=(100_000_000,))
        self.ceilings = {}

    def ours(self, op, threads, sizes):
        x, y, z = (list(sizes) + [0, 0, 0])[:3]
        return lambda: self.lib.kb_sample(op.encode(), 0, threads, x, y, z)

    def blas(self, op, threads, sizes):
        return (lambda: self.lib.kb_sample(op.encode(), 1, threads, *sizes)) if self.openblas else None

    @staticmethod
    def timed(f):
        def sample():
            f()
            deadline = time.perf_counter_ns() + 500_000_000
            while True:
                n, start, own = 0, time.perf_counter_ns(), time.thread_time_ns()
                spent = 0
                while spent < 2_000_000:
                    f()
                    n += 1
                    spent = time.perf_counter_ns() - start
                if time.thread_time_ns() - own >= 0.98 * spent:
                    return spent / n
                if start + spent > deadline:
                    return -1
        return sample

    def samples(self, functions):
        taken = [[] for _ in functions]
        for _ in range(self.args.samples):
            for f, t in zip(functions, taken):
                ns = f()
                if ns > 0:
                    t.append(ns)
        return taken

    def ceiling(self, kind, threads):
        """Amount per ns: 'fma', 'dot', ('read', elements), or ('codes', elements): reading 2-bit codes, unless the int8
        dot products of four codes a byte take longer."""
        if kind[0] == "codes":
            return min(self.ceiling(("read", kind[1]), threads), self.ceiling("dot", threads) / 8)
        key = (kind, threads)
        if key not in self.ceilings:
            if isinstance(kind, tuple):
                amount, f = kind[1] * 4.0, self.ours(kind[0], threads, [kind[1]])
            else:
                amount, f = self.lib.kb_amount(kind.encode(), 20000) * threads, self.ours(kind, threads, [20000])
            self.ceilings[key] = amount / min(self.samples([f])[0], default=float("inf"))
        return self.ceilings[key]

    def row(self, name, threads, amount, unit, ours, peer_name=None, peer=None, ceiling=None):
        if self.args.filter and self.args.filter not in name:
            return
        top = self.ceiling(ceiling, threads)
        taken = self.samples([ours] + ([peer] if peer else []))
        if not all(taken):
            print(f"{name:34s} {threads}T no clean sample: the machine is busy", flush=True)
            return
        rate = [(amount / min(t), amount / statistics.median(t)) for t in taken]
        ratio = rate[0][0] / rate[1][0] if peer else None
        bar = bar_of(name, threads, self.mask)
        row = {"sets": self.mask, "row": name, "threads": threads, "unit": unit, "ours_best": f"{rate[0][0]:.2f}",
               "ours_median": f"{rate[0][1]:.2f}", "ceiling": f"{top:.2f}", "of_ceiling": f"{rate[0][0] / top:.3f}",
               "verdict": verdict(bar, rate[0][0], rate[0][0] / top, ratio), "samples": len(taken[0])}
        if bar is not None:
            row.update(bar=f"{bar[0]:g}" if bar[0] else "", bar_of_ceiling=f"{bar[1]:.3f}")
        if peer:
            row.update(peer=peer_name, peer_best=f"{rate[1][0]:.2f}", peer_median=f"{rate[1][1]:.2f}",
                       ratio_best=f"{ratio:.3f}")
        self.rows.append(row)
        beside = f"{peer_name} {rate[1][0]:8.2f} ({ratio:5.2f}x)" if peer else ""
        print(f"{name:34s} {threads}T {rate[0][0]:9.2f} {unit:8s} {100 * rate[0][0] / top:4.0f}% of {top:7.1f}  {beside} {row['verdict']}",
              flush=True)


def float_products(b, threads):
    for n in (64, 100, 256, 512, 1024, 2048):
        b.row(f"sgemm {n}^3", threads, 2.0 * n ** 3, "GFLOP/s", b.ours("sgemm nn", threads, [n, n, n]), "OpenBLAS",
              b.blas("sgemm nn", threads, [n, n, n]), "fma")
    for m in (32, 128):
        for form in ("nt", "nn"):
            sizes = [m, 4096, 4096]
            b.row(f"sgemm {m}x4096x4096 {form}", threads, 2.0 * m * 4096 ** 2, "GFLOP/s",
                  b.ours(f"sgemm {form}", threads, sizes), "OpenBLAS", b.blas(f"sgemm {form}", threads, sizes), "fma")
    b.row("sgemv 4096^2", threads, 4.0 * 4096 ** 2, "GB/s", b.ours("sgemv nt", threads, [1, 4096, 4096]), "OpenBLAS",
          b.blas("sgemv nt", threads, [1, 4096, 4096]), ("read", 4096 ** 2))


def ternary_products(b, threads):
    for m, k in ((2560, 2560), (6912, 2560), (2560, 6912)):
        for kind, elements in (("cold", 100_000_000), ("hot", m * k // 16)):
            b.row(f"ternary gemv {kind} {m}x{k}", threads, m * k / 4, "GB/s", b.ours(f"ternary {kind}", threads, [m, k, 1]),
                  ceiling=("codes", elements))
        b.row(f"ternary t2 gemv {m}x{k}", threads, m * k / 4, "GB/s", b.ours("ternary t2", threads, [m, k, 1]),
              ceiling=("codes", m * k // 16))
        for batch in (32, 128):
            b.row(f"ternary gemm b{batch} {m}x{k}", threads, 2.0 * m * k * batch, "GOP/s",
                  b.ours("ternary hot", threads, [m, k, batch]), ceiling="dot")


def streams(b, threads):
    np = numpy
    for n, side in ((1_000_000, 1000), (100_000_000, 10000)):
        x = {key: array[:n] for key, array in b.arrays.items()}
        grid = {key: array.reshape(n // side, side) for key, array in x.items()}
        half = None if np is None else b.arrays["b"][:n].view(np.float16)[:n]
        flat = [  # name, bytes an element, NumPy's way
            ("add", 12, lambda: np.add(x["a"], x["b"], out=x["c"])),
            ("mul", 12, lambda: np.multiply(x["a"], x["b"], out=x["c"])),
            ("a*s+b", 8, lambda: np.add(np.multiply(x["a"], np.float32(1.5), out=x["c"]), np.float32(.5), out=x["c"])),
            ("sum", 4, lambda: np.sum(x["a"])),
            ("max", 4, lambda: np.max(x["a"])),
            ("argmax", 4, lambda: np.argmax(x["a"])),
            ("a[::2]", 4, lambda: np.copyto(x["c"][:n // 2], x["a"][::2])),
            ("exp", 8, lambda: np.exp(x["a"], out=x["c"])),
            ("tanh", 8, lambda: np.tanh(x["a"], out=x["c"])),
            ("f32->f16", 6, lambda: np.copyto(x["c"].view(np.float16)[:n], x["a"])),
            ("f16->f32", 6, lambda: np.copyto(x["c"], half)),
            ("f32->bf16", 6, None),
        ]
        shaped = [
            ("add row", 8, lambda: np.add(grid["a"], x["b"][:side], out=grid["c"])),
            ("sum axis 0", 4, lambda: np.sum(grid["a"], axis=0)),
            ("sum axis 1", 4, lambda: np.sum(grid["a"], axis=1)),
            ("transpose", 8, lambda: np.copyto(grid["c"], grid["a"].T)),
            ("softmax", 8, None),
            ("rms_norm", 8, None),
            ("absmax int8", 4, None),
            ("absmean ternary", 4, None),
        ]
        tag = "1e6" if n == 1_000_000 else "1e8"
        for name, size, peer in flat + shaped:
            sizes = [n] if (name, size, peer) in flat else [n // side, side]
            if name == "absmean ternary" and threads > 1:
                continue
            b.row(f"{name} {tag}", threads, float(size) * n, "GB/s", b.ours(name, threads, sizes), "NumPy 1T",
                  b.timed(peer) if peer and np is not None else None, ("read", n))
        b.row(f"memcpy {tag}", threads, 8.0 * n, "GB/s", b.ours("memcpy", threads, [n]), ceiling=("read", n))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module")
    parser.add_argument("-o", "--output")
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--openblas", default="libopenblas.so.0")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--samples", type=int, default=11)
    parser.add_argument("--mask", type=lambda t: int(t, 0), default=0xffffffff)
    parser.add_argument("--filter")
    args = parser.parse_args()
    options = [a for a in sys.argv[1:] if a not in (args.module, args.output, "-o", "--output", "--append")]
    before = provenance.header("perf/tensor/kernels.py " + " ".join(options))
    b = Bench(args)
    for threads in (int(t) for t in args.threads.split(",")):
        float_products(b, threads)
        ternary_products(b, threads)
        streams(b, threads)
    if args.output:
        fresh = not (args.append and os.path.exists(args.output))
        with open(args.output, "w" if fresh else "a", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
            f.write(before)
            if fresh:
                writer.writeheader()
            writer.writerows(b.rows)


if __name__ == "__main__":
    main()
