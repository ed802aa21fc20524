#!/usr/bin/env python3
"""Every operation on random shapes, strides, types and axes, against NumPy.

usage: against_numpy.py library include-folder [cases] [seed]
Operands are NumPy's own arrays, wrapped where they lie: slices with steps, reversed, permuted, broadcast. A failing case
prints its seed and operands. At the end no tensor may be left alive.
"""
import gc
import math
import sys
import warnings

import numpy as np

import hyp

DTYPES = ["f32", "f16", "f64", "i8", "i16", "i32", "i64", "u8", "bool"]
FLOATS = ["f32", "f16", "f64"]
EPS = {"f16": 2.0**-10, "f32": 2.0**-23, "f64": 2.0**-52}


class Cases:
    def __init__(self, library, seed):
        self.hyp, self.random = library, np.random.default_rng(seed)
        self.done = 0

    # ---- operands ----

    def shape(self, rank=None, largest=7):
        r = self.random
        if rank is None:
            rank = int(r.integers(0, 6)) if r.random() < 0.93 else int(r.integers(6, 12))
        if rank > 5:  # more dimensions than a header has room for
            largest = 2
        shape = [int(r.integers(1, largest + 1)) for _ in range(rank)]
        if rank and r.random() < 0.06:
            shape[int(r.integers(rank))] = 0
        if rank and r.random() < 0.1:
            shape[int(r.integers(rank))] = int(r.integers(500, 1500)) // max(1, int(np.prod(shape)) // 64 + 1) + 1
        return tuple(shape)

    def values(self, shape, dtype):
        r, kind = self.random, self.hyp.numpy[dtype]
        if dtype == "bool":
            return r.integers(0, 2, shape).astype(kind)
        if dtype in FLOATS:
            x = np.asarray(r.normal(size=shape) * r.choice([0.5, 3, 40])).astype(kind)
            if r.random() < 0.3 and x.size:
                flat = x.reshape(-1)
                for special in (0.0, -0.0, np.nan, np.inf, -np.inf):
                    flat[int(r.integers(x.size))] = special
                if r.random() < 0.3:  # so many that a row has several: the first one counts
                    flat[r.random(x.size) < 0.3] = np.nan
            return x
        info = np.iinfo(kind)
        small = r.random() < 0.5
        low, high = (max(info.min, -9), 10) if small else (info.min, info.max)
        return r.integers(low, high, shape, dtype=np.int64 if dtype != "u8" else np.int64).astype(kind)

    def strided(self, shape, dtype):
        """An array of that shape with random strides."""
        r = self.random
        axes = r.permutation(len(shape))
        grown, cut = [], []
        for i in axes:
            n, step = shape[i], int(r.choice([1, 1, 1, 2, -1, -3]))
            low, tail = (int(r.integers(0, 3)), int(r.integers(0, 3))) if r.random() < 0.3 else (0, 0)
            span = (n - 1) * abs(step) + 1 if n else 0
            grown.append(low + span + tail)
            if step > 0:
                cut.append(slice(low, low + span, step))
            else:
                stop = low - 1
                cut.append(slice(low + span - 1, None if stop < 0 else stop, step) if n else slice(0, 0))
        x = self.values(tuple(grown), dtype)[tuple(cut)] if len(shape) else self.values((), dtype)
        x = np.asarray(x).transpose(np.argsort(axes)) if len(shape) else np.asarray(x)
        assert x.shape == tuple(shape), (x.shape, shape)
        if x.ndim and r.random() < 0.1:
            i = int(r.integers(x.ndim))
            x = np.broadcast_to(x[(slice(None),) * i + (slice(0, 1),)], x.shape) if x.shape[i] else x
        return x

    def broadcastable(self, shape):
        r = self.random
        out = [1 if r.random() < 0.25 else n for n in shape]
        return tuple(out[int(r.integers(0, len(out) + 1)):]) if r.random() < 0.3 else tuple(out)

    def dtype(self, among=DTYPES):
        return str(self.random.choice(among))

    # ---- comparison ----

    def same(self, got, want, what, ulps=0.0, absolute=0.0, types=True):
        want = np.asarray(want)
        got = got.numpy() if isinstance(got, hyp.Tensor) else np.asarray(got)
        self.done += 1
        if types and got.dtype != want.dtype:
            raise AssertionError(f"{what}: type {got.dtype}, NumPy {want.dtype}")
        if got.shape != want.shape:
            raise AssertionError(f"{what}: shape {got.shape}, NumPy {want.shape}")
        if want.dtype.kind != "f":
            bad = got != want
        else:
            a, b = got.astype(np.float64), want.astype(np.float64)
            eps = EPS[self.hyp.from_numpy[want.dtype]]
            with np.errstate(all="ignore"):
                near = np.abs(a - b) <= absolute + ulps * eps * np.maximum(np.abs(b), np.finfo(want.dtype).tiny)
            bad = ~((a == b) | (np.isnan(a) & np.isnan(b)) | near)
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            raise AssertionError(f"{what}: at {at} {got[at]!r}, NumPy {want[at]!r}; {int(bad.sum())} differ")

    # ---- what is compared ----

    BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide,
              "floor_div": np.floor_divide, "mod": np.remainder, "pow": np.power, "min": np.minimum, "max": np.maximum,
              "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
              "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}

    def refused(self, op, a, b):
        """What NumPy refuses, or computes in a type that we do not have."""
        both_bool = a.dtype == np.bool_ and b.dtype == np.bool_
        if op == "sub" and both_bool:
            return True
        empty = 0 in np.broadcast_shapes(a.shape, b.shape)
        return op == "pow" and not empty and np.result_type(a, b).kind in "iu" and (np.asarray(b) < 0).any()

    def ulps_of(self, op, dtype):
        return 4.0 if op == "pow" else 0.0

    def binary(self):
        op = str(self.random.choice(list(self.BINARY)))
        shape = self.shape()
        a = self.strided(self.broadcastable(shape), self.dtype())
        b = self.strided(self.broadcastable(shape), self.dtype())
        what = f"{op} {a.dtype}{a.shape}{a.strides} {b.dtype}{b.shape}{b.strides}"
        ta, tb = self.hyp.wrap(a), self.hyp.wrap(b)
        if self.refused(op, a, b):
            try:
                self.hyp.binary(op, ta, tb)
            except hyp.Error:
                return
            raise AssertionError(what + ": not refused")
        # Zero-rank arrays are typed here, not values (NumPy 1 looks at a scalar's value).
        kind = np.result_type(a.dtype, b.dtype)
        if op in ("div",) and kind.kind in "biu":
            kind = np.dtype(np.float64)
        if kind == np.bool_ and op in ("floor_div", "mod", "pow"):
            kind = np.dtype(np.int8)
        if op in ("and", "or", "xor"):
            want = np.asarray(self.BINARY[op](a, b))
        elif op in ("eq", "ne", "lt", "le", "gt", "ge") or kind != np.bool_:
            want = np.asarray(self.BINARY[op](a.astype(kind), b.astype(kind)))
        else:
            want = np.asarray(self.BINARY[op](a, b))
        self.same(self.hyp.binary(op, ta, tb), want, what, self.ulps_of(op, want.dtype))
        if self.random.random() < 0.3:
            self.into(op, ta, tb, want, what)

    def into(self, op, ta, tb, want, what):
        """Into a strided output of the result's type, or of another."""
        out = np.array(self.strided(want.shape, self.hyp.from_numpy[want.dtype]), copy=True, order="F")
        grown = np.zeros(tuple(n * 2 for n in out.shape), want.dtype)
        target = grown[tuple(slice(None, None, -2) for _ in out.shape) + (Ellipsis,)]
        before = grown.copy()
        self.hyp.binary_into(op, ta, tb, self.hyp.wrap(target))
        self.same(target, want, what + " into", self.ulps_of(op, want.dtype))
        mask = np.ones(grown.shape, bool)
        mask[tuple(slice(None, None, -2) for _ in out.shape)] = False
        if (grown[mask] != before[mask]).any():
            raise AssertionError(what + " into: wrote outside of the output")

    def in_place(self):
        """Outputs that overlap an operand in every way."""
        shape = tuple(int(self.random.integers(1, 9)) for _ in range(int(self.random.integers(1, 4))))
        dtype = self.dtype(["f32", "i32", "f16", "i8"])
        base = self.values(tuple(n + 2 for n in shape), dtype)
        cuts = [tuple(slice(k, k + n) for k, n in zip(self.random.integers(0, 3, len(shape)), shape)) for _ in range(3)]
        flips = [tuple(slice(None, None, int(self.random.choice([1, -1]))) for _ in shape) for _ in range(3)]
        mine, theirs = base.copy(), base.copy()
        a, b, out = (mine[cut][flip] for cut, flip in zip(cuts, flips))
        x, y, z = (theirs[cut][flip] for cut, flip in zip(cuts, flips))
        np.add(x, y, out=z)
        self.hyp.binary_into("add", self.hyp.wrap(a), self.hyp.wrap(b), self.hyp.wrap(out))
        self.same(mine, theirs, f"add in place {dtype}{shape} {cuts} {flips}")

    def scalar(self):
        op = str(self.random.choice(["add", "sub", "mul", "div", "min", "max", "lt", "ge", "mod"]))
        a = self.strided(self.shape(), self.dtype(["f32", "f16", "f64", "i8", "i32", "u8"]))
        value = int(self.random.integers(1, 9)) if self.random.random() < 0.5 else float(self.random.integers(1, 9) / 4)
        flip = bool(self.random.random() < 0.5)
        kind = a.dtype if isinstance(value, int) or a.dtype.kind == "f" else np.dtype(np.float64)
        x, y = a.astype(kind), np.asarray(value, kind)
        want = self.BINARY[op](y, x) if flip else self.BINARY[op](x, y)
        got = self.hyp.binary_scalar(op, self.hyp.wrap(a), value, flip)
        self.same(got, np.asarray(want), f"{op} {a.dtype}{a.shape} with {value!r} reversed {flip}")

    UNARY = {"neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "tanh": np.tanh,
             "square": np.square, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
             "trunc": np.trunc, "sin": np.sin, "cos": np.cos, "tan": np.tan, "exp2": np.exp2, "expm1": np.expm1,
             "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "isnan": np.isnan, "isinf": np.isinf,
             "isfinite": np.isfinite, "not": np.logical_not, "reciprocal": np.reciprocal}
    EXACT = {"neg", "abs", "sqrt", "square", "sign", "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite",
             "not", "reciprocal"}

    def unary(self):
        op = str(self.random.choice(list(self.UNARY)))
        a = self.strided(self.shape(), self.dtype())
        what = f"{op} {a.dtype}{a.shape}{a.strides}"
        t = self.hyp.wrap(a)
        if op == "reciprocal" and a.dtype.kind in "biu":
            return
        if op == "neg" and a.dtype == np.bool_:
            try:
                self.hyp.unary(op, t)
            except hyp.Error:
                return
            raise AssertionError(what + ": not refused")
        if a.dtype == np.bool_ and op in ("square", "sign"):
            return
        if a.dtype.kind in "biu" and op in ("isnan", "isinf", "isfinite"):
            want = self.UNARY[op](a.astype(np.float64))
        else:
            want = self.UNARY[op](a)
        if op in ("exp", "exp2", "expm1") and want.dtype == np.float16:
            want = np.asarray(self.UNARY[op](a.astype(np.float64))).astype(np.float16)
        self.same(self.hyp.unary(op, t), want, what, 0.0 if op in self.EXACT else 6.0)

    def where(self):
        shape = self.shape()
        d = self.dtype()
        p, a, b = (self.strided(self.broadcastable(shape), k) for k in (self.dtype(), d, d))
        tensors = [self.hyp.wrap(x) for x in (p, a, b)]
        got = self.hyp.call("where", *(t.p for t in tensors))
        self.same(got, np.where(p.astype(bool), a, b), f"where {p.dtype} {d} {shape}")

    REDUCE = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "amin": np.amin, "amax": np.amax, "var": np.var,
              "std": np.std, "any": np.any, "all": np.all, "argmin": np.argmin, "argmax": np.argmax}

    def reduce(self):
        r = self.random
        op = str(r.choice(list(self.REDUCE) + ["norm"]))
        big = r.random() < 0.08
        shape = self.shape(largest=40 if big else 7)
        if int(np.prod(shape)) > 200000:
            return
        a = self.strided(shape, self.dtype())
        count = int(r.integers(0, a.ndim + 1))
        axes = None if r.random() < 0.3 else [int(x) for x in r.permutation(a.ndim)[:count]]
        if op in ("argmin", "argmax") and axes is not None:
            if a.ndim == 0:
                axes = None
            else:
                axes = axes[:1] or [0]
        if axes is not None:
            axes = [x - a.ndim if r.random() < 0.5 else x for x in axes]
        keep, ddof = bool(r.random() < 0.5), int(r.integers(0, 2))
        what = f"{op} {a.dtype}{a.shape}{a.strides} axes {axes} keepdims {keep} ddof {ddof}"
        self.reduced(op, a, axes, keep, ddof, what)

    def reduced(self, op, a, axes, keep, ddof, what):
        length = int(np.prod([a.shape[x] for x in axes])) if axes is not None else a.size
        t = self.hyp.wrap(a)
        if length == 0 and op in ("amin", "amax", "argmin", "argmax") and (axes is None or a.size or
                int(np.prod([n for i, n in enumerate(a.shape) if i not in [x % a.ndim for x in axes]])) > 0):
            try:
                self.hyp.reduce(op, t, axes, keep)
            except hyp.Error as error:
                assert error.status == "ERR_SHAPE", error
                return
            raise AssertionError(what + ": not refused")
        axis = None if axes is None else tuple(axes)
        wide = a.astype(np.float64) if a.dtype.kind == "f" else a
        kind = a.dtype if a.dtype.kind == "f" else np.dtype(np.float64)
        bound = 0.0
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if op in ("argmin", "argmax"):
                axis = None if axes is None else axes[0]
                want = self.REDUCE[op](a, axis=axis, keepdims=keep)
            elif op in ("amin", "amax", "any", "all"):
                want = self.REDUCE[op](a, axis=axis, keepdims=keep)
            elif op in ("sum", "prod"):
                if a.dtype.kind == "f":
                    want = self.REDUCE[op](wide, axis=axis, keepdims=keep).astype(kind)
                    bound = np.sum(np.abs(np.where(np.isfinite(wide), wide, 0).astype(np.float64)), axis=axis, keepdims=keep)
                else:
                    want = self.REDUCE[op](a, axis=axis, keepdims=keep, dtype=np.int64)
            elif op == "norm":
                want = np.sqrt(np.sum(wide.astype(np.float64) ** 2, axis=axis, keepdims=keep)).astype(kind)
            elif op == "mean":
                want = np.mean(wide, axis=axis, keepdims=keep, dtype=np.float64).astype(kind)
                bound = np.sum(np.abs(np.where(np.isfinite(wide), wide, 0).astype(np.float64)), axis=axis, keepdims=keep) / max(1, length)
            else:
                want = self.REDUCE[op](wide.astype(np.float64), axis=axis, keepdims=keep, ddof=ddof).astype(kind)
                if np.asarray(want).size and length - ddof <= 0:
                    return
        want = np.asarray(want)
        unit = EPS.get(self.hyp.from_numpy.get(want.dtype), 0)
        got = self.hyp.reduce(op, t, axes, keep, ddof)
        if op in ("var", "std", "norm"):
            scale = np.nanmax(np.abs(np.where(np.isfinite(wide), wide, 0))) if wide.size else 0
            self.same(got, want, what, 16.0, absolute=float(scale) ** (2 if op == "var" else 1) * unit * 8 *
                      (1 if want.dtype != np.float64 else 8 + length / 8))
        elif op in ("sum", "mean", "prod") and want.dtype.kind == "f":
            # The kernels' bound, 14 u sum|x| = 7 EPS, and the final rounding.
            factor = 8.0 if op != "prod" else 0.0
            compute = max(unit, EPS["f32"] if want.dtype != np.float64 else 0)
            slack = np.max(np.asarray(bound, np.float64), initial=0.0) * factor * (compute if want.dtype != np.float16 else EPS["f32"])
            if op == "prod":
                with np.errstate(all="ignore"):
                    logs = np.abs(np.log10(np.abs(wide.astype(np.float64))))
                if np.sum(logs[np.isfinite(logs)]) > 290:
                    return  # whether it overflows on the way depends on the order
            self.same(got, want, what, 1.0 if op != "prod" else 32.0 + length, absolute=float(slack))
        else:
            self.same(got, want, what)

    def views(self):
        r = self.random
        a = self.strided(self.shape(int(r.integers(1, 6))), self.dtype(["f32", "i64", "u8"]))
        t, what = self.hyp.wrap(a), f"views of {a.dtype}{a.shape}{a.strides}:"
        for _ in range(4):
            kind = int(r.integers(6))
            try:
                if kind == 0 and a.ndim:
                    cut = [slice(*(None if r.random() < 0.3 else int(r.integers(-9, 10)) for _ in range(2)),
                                 int(r.choice([1, 2, 3, -1, -2]))) for _ in range(int(r.integers(1, a.ndim + 1)))]
                    a, t, did = a[tuple(cut)], t.slice(cut), f"{cut}"
                elif kind == 1:
                    order = [int(x) for x in r.permutation(a.ndim)]
                    a, t, did = a.transpose(order), t.view("permute", (hyp.c.c_int * max(1, a.ndim))(*order)), f"permute {order}"
                elif kind == 2 and a.ndim:
                    axis = int(r.integers(-a.ndim, a.ndim))
                    if a.shape[axis] == 0:
                        continue
                    index = int(r.integers(-a.shape[axis], a.shape[axis]))
                    at = (slice(None),) * (axis % a.ndim) + (index, Ellipsis)
                    a, t, did = a[at], t.view("select", axis, hyp.c.c_int64(index)), f"select {axis} {index}"
                elif kind == 3 and a.ndim < 8:
                    axis = int(r.integers(-a.ndim - 1, a.ndim + 1))
                    a, t, did = np.expand_dims(a, axis), t.view("unsqueeze", axis), f"unsqueeze {axis}"
                elif kind == 4:
                    a, t, did = np.squeeze(a), t.view("squeeze", 0, None), "squeeze"
                else:
                    parts = [n for n in (2, 3, 5, 7) if a.size and a.size % n == 0]
                    n = int(r.choice(parts)) if parts else 1
                    shape = (n, -1) if a.size else a.shape
                    did = f"reshape {shape}"
                    try:
                        view = t.view("reshape", len(shape), self.hyp.longs(shape))
                    except hyp.Error as error:
                        assert error.status == "ERR_UNSUPPORTED", error
                        probe = a.view()
                        try:
                            probe.shape = shape
                        except AttributeError:
                            continue
                        raise AssertionError(what + did + ": refused, NumPy does it without a copy")
                    a, t = a.reshape(shape), view
            except hyp.Error as error:
                raise AssertionError(f"{what} kind {kind}: {error}")
            what += " " + did + ";"
            self.same(t, a, what)

    def cast(self):
        a = self.strided(self.shape(), self.dtype())
        to = self.dtype()
        kind = self.hyp.numpy[to]
        want = a
        if a.dtype.kind == "f" and np.dtype(kind).kind in "iu":
            info = np.iinfo(kind)
            wide = np.nan_to_num(a.astype(np.float64), nan=0.0, posinf=1e30, neginf=-1e30)
            want = np.where(wide >= info.max, info.max, np.where(wide <= info.min, info.min,
                            np.trunc(np.clip(wide, -2.0**62, 2.0**62)).astype(np.int64)))
        with np.errstate(all="ignore"):
            self.same(self.hyp.wrap(a).cast(to), want.astype(kind), f"cast {a.dtype}{a.shape}{a.strides} to {to}")

    def halves(self):
        """Halfway between two halves, and a hair beside it: a double must not be rounded twice."""
        r = self.random
        bits = r.integers(0x0400, 0x7bff, 200).astype(np.uint16)
        low, high = (x.view(np.float16).astype(np.float64) for x in (bits, bits + np.uint16(1)))
        x = ((low + high) / 2) * (1 + r.integers(-1, 2, 200) * 2.0**-40) * r.choice([-1, 1], 200)
        with np.errstate(all="ignore"):
            self.same(self.hyp.wrap(x).cast("f16"), x.astype(np.float16), "f64 halfway to f16")

    def matmul(self):
        r = self.random
        m, n, k = (int(x) for x in r.integers(0 if r.random() < 0.05 else 1, 40 if r.random() < 0.2 else 9, 3))
        batch = self.shape(int(r.integers(0, 3)), 3)
        sa, sb = self.broadcastable(batch) + (m, k), self.broadcastable(batch) + (k, n)
        if r.random() < 0.15:
            sa = (k,)
        if r.random() < 0.15:
            sb = (k,)
        d = self.dtype(["f32", "f64", "f16", "i8", "i32", "i64", "u8"])
        a, b = self.strided(sa, d), self.strided(sb, d if r.random() < 0.7 else self.dtype(["f32", "f64", "i32"]))
        a, b = (np.where(np.isfinite(x), x, 1).astype(x.dtype) if x.dtype.kind == "f" else x for x in (a, b))
        kind = np.result_type(a.dtype, b.dtype)
        what = f"matmul {a.dtype}{a.shape}{a.strides} {b.dtype}{b.shape}{b.strides}"
        got = self.hyp.matmul(self.hyp.wrap(a), self.hyp.wrap(b))
        with np.errstate(all="ignore"):
            if kind.kind == "f":
                wide = np.matmul(a.astype(np.float64), b.astype(np.float64))
                unit = EPS["f32"] if kind == np.float16 else EPS[self.hyp.from_numpy[kind]]
                slack = np.max(np.matmul(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64))), initial=0.0)
                self.same(got, wide.astype(kind), what, 1.0, absolute=float(slack) * (k + 2) * unit)
            else:
                self.same(got, np.matmul(a.astype(kind), b.astype(kind)), what)

    def dots(self):
        """dot and outer of vectors that lie anyhow."""
        m, n = (int(x) for x in self.random.integers(1, 300, 2))
        d = self.dtype(["f32", "f64", "i32", "i64"])
        a, b, c = (self.strided((k,), d) for k in (m, m, n))
        a, b, c = (np.where(np.isfinite(x), x, 1).astype(x.dtype) if x.dtype.kind == "f" else x for x in (a, b, c))
        ta, tb, tc = (self.hyp.wrap(x) for x in (a, b, c))
        exact = a.dtype.kind != "f"
        want = np.dot(a, b) if exact else np.dot(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
        slack = 0 if exact else float(np.dot(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))) * (m + 2) * EPS[d]
        self.same(self.hyp.call("dot", ta.p, tb.p), want, f"dot {d} {m} {a.strides} {b.strides}", 1.0, absolute=slack)
        self.same(self.hyp.call("outer", ta.p, tc.p), np.outer(a, c), f"outer {d} {m} {n}")

    ERF = np.vectorize(math.erf, otypes=[np.float64])
    ACTIVATIONS = {
        "relu": lambda x: np.where(x > 0, x, np.where(np.isnan(x), x, 0)), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "silu": lambda x: x / (1 + np.exp(-x)), "rsqrt": lambda x: 1 / np.sqrt(x), "erf": lambda x: Cases.ERF(x),
        "gelu": lambda x: 0.5 * x * (1 + Cases.ERF(x / np.sqrt(2))),
        "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))}

    def activations(self):
        op, d = str(self.random.choice(list(self.ACTIVATIONS))), self.dtype(FLOATS)
        a = self.strided(self.shape(), d)
        a = np.where(np.isfinite(a), np.clip(a, -20, 20), a.dtype.type(1)).astype(a.dtype)
        want = np.asarray(self.ACTIVATIONS[op](a.astype(np.float64))).astype(a.dtype)
        # What is near zero is a difference of ones here, though not in the library.
        absolute = 0.0 if op in ("relu", "rsqrt") else 2e-6 if d == "f32" else EPS["f16"] if d == "f16" else 1e-13
        self.same(self.hyp.unary(op, self.hyp.wrap(a)), want, f"{op} {d}{a.shape}{a.strides}", 8.0, absolute=absolute)

    def rows(self):
        """softmax and rms_norm along the last axis."""
        shape = self.shape(int(self.random.integers(1, 4)), 40)
        d = self.dtype(["f32", "f64"])
        a = self.strided(shape, d)
        a = np.where(np.isfinite(a), a, 1).astype(a.dtype)
        if 0 in a.shape:
            return
        t, x = self.hyp.wrap(a), a.astype(np.float64)
        e = np.exp(x - x.max(-1, keepdims=True))
        self.same(self.hyp.call("softmax", t.p), (e / e.sum(-1, keepdims=True)).astype(a.dtype), f"softmax {d}{shape}", 200.0,
                  absolute=1e-38 if d == "f32" else 1e-300)
        want = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        got = self.hyp.call("rms_norm", t.p, None, hyp.c.c_double(1e-5))
        self.same(got, want.astype(a.dtype), f"rms_norm {d}{shape}", 16.0, absolute=1e-38)

    @staticmethod
    def as_bf16(x):
        """To the nearest bf16, ties to even, as float32."""
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)

    def narrow(self):
        """bf16, which NumPy lacks, and packed integers, which count as i8."""
        r = self.random
        shape = self.shape(int(r.integers(1, 4)))
        a, b = (r.normal(size=shape).astype(np.float32) for _ in range(2))
        x, y = (self.hyp.wrap(v).cast("bf16") for v in (a, b))
        self.same(x.cast("f32"), self.as_bf16(a), "f32 to bf16")
        for op, f in (("add", np.add), ("mul", np.multiply), ("sub", np.subtract), ("max", np.maximum)):
            got = self.hyp.binary(op, x, y)
            assert got.dtype == "bf16", got.dtype
            self.same(got.cast("f32"), self.as_bf16(f(self.as_bf16(a), self.as_bf16(b))), f"{op} bf16 {shape}")
        for name, low, high in (("i4", -8, 8), ("i2", -2, 2), ("i1", -1, 1), ("bitnet158", -1, 2), ("bitnet158_5", -1, 2)):
            c, d = (r.integers(low, high, shape).astype(np.int8) for _ in range(2))
            p, q = (self.hyp.wrap(v).cast(name) for v in (c, d))
            self.same(self.hyp.binary("mul", p, q), c * d, f"mul {name} {shape}")
            self.same(self.hyp.binary("sub", p, self.hyp.wrap(a)), c - a, f"sub {name} {shape} and f32")
            self.same(self.hyp.reduce("sum", p, [-1]), c.sum(-1, dtype=np.int64), f"sum {name} {shape}")

    def large(self):
        """Shapes that the threads share."""
        r = self.random
        a = r.normal(size=(int(r.integers(300, 700)), int(r.integers(300, 700)))).astype(np.float32)
        b = r.normal(size=a.shape).astype(np.float32)
        ta, tb = self.hyp.wrap(a), self.hyp.wrap(b)
        self.same(self.hyp.binary("add", ta, tb), a + b, "large add")
        self.same(self.hyp.binary("mul", ta, self.hyp.wrap(b[0])), a * b[0], "large row broadcast")
        turned = self.hyp.wrap(a.T)
        self.same(self.hyp.call("contiguous", turned.p), np.ascontiguousarray(a.T), "large transpose")
        self.same(self.hyp.reduce("amax", ta, [0]), a.max(0), "large amax 0")
        self.same(self.hyp.reduce("argmin", ta, [1]), a.argmin(1), "large argmin 1")
        total = float(np.abs(a).sum(dtype=np.float64))
        for axes in (None, [0], [1]):
            want = a.sum(axis=None if axes is None else axes[0], dtype=np.float64).astype(np.float32)
            self.same(self.hyp.reduce("sum", ta, axes), want, f"large sum {axes}", 1.0, absolute=total * EPS["f32"] * 8 / 300)
        c = r.normal(size=(a.shape[1], 200)).astype(np.float32)
        want = (a.astype(np.float64) @ c.astype(np.float64)).astype(np.float32)
        self.same(self.hyp.matmul(ta, self.hyp.wrap(c)), want, "large matmul", absolute=a.shape[1] * EPS["f32"] * 40)

    def run(self, count):
        kinds = [(self.binary, 30), (self.reduce, 25), (self.unary, 12), (self.views, 10), (self.scalar, 6),
                 (self.in_place, 5), (self.cast, 6), (self.matmul, 8), (self.where, 4), (self.large, 0.2), (self.halves, 0.5),
                 (self.dots, 3), (self.activations, 5), (self.rows, 3), (self.narrow, 2)]
        weights = np.array([w for _, w in kinds], float)
        for number in range(count):
            seed = int(self.random.integers(2**62))
            keep, self.random = self.random, np.random.default_rng(seed)
            kind = kinds[int(self.random.choice(len(kinds), p=weights / weights.sum()))][0]
            try:
                with np.errstate(all="ignore"):
                    kind()
            except Exception as error:
                print(f"case {number} ({kind.__name__}, seed {seed}): {error}")
                yield seed
            self.random = keep


def main():
    library = hyp.Library(sys.argv[1], sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 6000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 20261123
    before = library.live()
    cases = Cases(library, seed)
    failed = 0
    for _ in cases.run(count):
        failed += 1
        if failed == 25:
            break
    gc.collect()
    left = library.live() - before
    print(f"{cases.done} comparisons, {failed} cases failed, {left} tensors left")
    sys.exit(1 if failed or left or not cases.done else 0)


if __name__ == "__main__":
    main()
