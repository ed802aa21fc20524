"""libhypool-tensor by ctypes, as far as the tests need it. Enumerations are read from the headers, so that nothing is
written here that is written there."""
import ctypes as c
import os
import re
import struct

import numpy as np

RANK = 32
SLICE_OPEN = -2**63


class Error(Exception):
    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Scalar(c.Structure):
    """ctypes cannot pass a union by value; one of a double and an int64 goes as the int64 does."""
    _fields_ = [("kind", c.c_int), ("bits", c.c_int64)]


class Slice(c.Structure):
    _fields_ = [("start", c.c_int64), ("stop", c.c_int64), ("step", c.c_int64)]


class ReduceOptions(c.Structure):
    _fields_ = [("struct_bytes", c.c_size_t), ("keepdims", c.c_bool), ("ddof", c.c_int)]


def ops_of(text, macro):
    body = re.search(r"#define " + macro + r"\(X\)((?:.*\\\n)*.*)", text).group(1)
    return {name: number for number, name in enumerate(re.findall(r"X\((\w+)(?:, \w+)?\)", body))}


class Library:
    def __init__(self, path, include):
        self.lib = c.CDLL(path)
        ops = open(os.path.join(include, "hypool/ops.h")).read()
        self.binary_ops = ops_of(ops, "HYP_BINARY_OPS")
        self.unary_ops = ops_of(ops, "HYP_UNARY_OPS")
        self.reduce_ops = ops_of(ops, "HYP_REDUCE_OPS")
        defs = open(os.path.join(include, "hypool/dtype.def")).read()
        self.dtypes = {t: int(n) for n, t in re.findall(r'HYP_DTYPE_X\(\w+, (\d+), "(\w+)"', defs)}
        self.names = {n: t for t, n in self.dtypes.items()}
        status = open(os.path.join(include, "hypool/status.def")).read()
        self.status = {int(n): name for name, n in re.findall(r"HYP_STATUS_X\((\w+), (\d+)", status)}
        for name in ("last_error", "shape", "strides", "name"):
            getattr(self.lib, "hyp_tensor_" + name).restype = c.c_void_p
        self.lib.hyp_tensor_last_error.restype = c.c_char_p
        for name in ("elements", "offset", "tag", "live_count", "storage_bytes"):
            getattr(self.lib, "hyp_tensor_" + name).restype = c.c_int64
        self.numpy = {"f32": np.float32, "f16": np.float16, "f64": np.float64, "i8": np.int8, "i16": np.int16,
                      "i32": np.int32, "i64": np.int64, "u8": np.uint8, "bool": np.bool_}
        self.from_numpy = {np.dtype(v): k for k, v in self.numpy.items()}

    def check(self, status):
        if status != 0:
            raise Error(self.status.get(status, status), self.lib.hyp_tensor_last_error().decode())

    def call(self, name, *args):
        """Calls a function whose last argument is a tensor to return."""
        out = c.c_void_p()
        self.check(getattr(self.lib, "hyp_tensor_" + name)(*args, c.byref(out)))
        return Tensor(self, out.value)

    @staticmethod
    def longs(values):
        return (c.c_int64 * max(1, len(values)))(*values)

    def wrap(self, array):
        """A tensor over an array's own memory: its strides, whatever they are."""
        array = np.asarray(array)
        strides = [s // array.itemsize for s in array.strides]
        t = self.call("from_foreign", self.dtypes[self.from_numpy[array.dtype]], array.ndim, self.longs(array.shape),
                      self.longs(strides), c.c_void_p(array.ctypes.data), c.c_size_t(0), c.c_size_t(2**64 - 1), 0, 0,
                      None, None)
        t.keep = array
        return t

    def empty(self, dtype, shape):
        return self.call("empty", self.dtypes[dtype], len(shape), self.longs(shape))

    def scalar(self, value):
        s = Scalar()
        if isinstance(value, bool):
            s.kind, s.bits = 0, int(value)
        elif isinstance(value, int):
            s.kind, s.bits = 1, value
        else:
            s.kind, s.bits = 2, struct.unpack("q", struct.pack("d", value))[0]
        return s

    def binary(self, op, a, b):
        return self.call("binary", self.binary_ops[op], a.p, b.p)

    def binary_into(self, op, a, b, out):
        self.check(self.lib.hyp_tensor_binary_into(self.binary_ops[op], a.p, b.p, out.p))

    def binary_scalar(self, op, a, value, is_reversed=False):
        return self.call("binary_scalar", self.binary_ops[op], a.p, self.scalar(value), c.c_bool(is_reversed))

    def unary(self, op, a):
        return self.call("unary", self.unary_ops[op], a.p)

    def unary_into(self, op, a, out):
        self.check(self.lib.hyp_tensor_unary_into(self.unary_ops[op], a.p, out.p))

    def reduce(self, op, a, axes=None, keepdims=False, ddof=0):
        options = ReduceOptions(c.sizeof(ReduceOptions), keepdims, ddof)
        array = None if axes is None else (c.c_int * max(1, len(axes)))(*axes)
        return self.call("reduce", self.reduce_ops[op], a.p, 0 if axes is None else len(axes), array, c.byref(options))

    def matmul(self, a, b):
        return self.call("matmul", a.p, b.p)

    def live(self):
        return self.lib.hyp_tensor_live_count()


class Tensor:
    def __init__(self, library, pointer):
        self.library, self.p, self.keep = library, c.c_void_p(pointer), None

    def __del__(self):
        if self.p:
            self.library.lib.hyp_tensor_release(self.p)
            self.p = None

    @property
    def rank(self):
        return self.library.lib.hyp_tensor_rank(self.p)

    @property
    def shape(self):
        p = self.library.lib.hyp_tensor_shape(self.p)
        return tuple(c.cast(p, c.POINTER(c.c_int64))[: self.rank])

    @property
    def strides(self):
        p = self.library.lib.hyp_tensor_strides(self.p)
        return tuple(c.cast(p, c.POINTER(c.c_int64))[: self.rank])

    @property
    def dtype(self):
        return self.library.names[self.library.lib.hyp_tensor_dtype(self.p)]

    def numpy(self):
        """A copy of the elements."""
        out = np.empty(self.shape, self.library.numpy[self.dtype])
        self.library.check(self.library.lib.hyp_tensor_read(self.p, c.c_void_p(out.ctypes.data), c.c_size_t(out.nbytes)))
        return out

    def bytes(self, count):
        out = np.empty(count, np.uint8)
        self.library.check(self.library.lib.hyp_tensor_read(self.p, c.c_void_p(out.ctypes.data), c.c_size_t(count)))
        return out

    def view(self, name, *args):
        t = self.library.call(name, self.p, *args)
        t.keep = self.keep
        return t

    def slice(self, slices):
        array = (Slice * max(1, len(slices)))()
        for i, s in enumerate(slices):
            array[i].start = SLICE_OPEN if s.start is None else s.start
            array[i].stop = SLICE_OPEN if s.stop is None else s.stop
            array[i].step = 1 if s.step is None else s.step
        return self.view("slice", len(slices), array)

    def cast(self, dtype):
        return self.library.call("cast", self.p, self.library.dtypes[dtype])
