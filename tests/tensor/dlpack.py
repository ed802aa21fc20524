#!/usr/bin/env python3
"""DLPack both ways with NumPy, which speaks the old capsule: memory is shared, and lives exactly as long as needed.

usage: dlpack.py library include-folder
"""
import ctypes as c
import gc
import sys
import weakref

import numpy as np

import hyp

api = c.pythonapi
api.PyCapsule_New.restype = c.py_object
api.PyCapsule_New.argtypes = [c.c_void_p, c.c_char_p, c.c_void_p]
api.PyCapsule_GetPointer.restype = c.c_void_p
api.PyCapsule_GetPointer.argtypes = [c.py_object, c.c_char_p]
api.PyCapsule_SetName.argtypes = [c.py_object, c.c_char_p]
api.PyCapsule_SetDestructor.argtypes = [c.py_object, c.c_void_p]


class Managed(c.Structure):
    """DLManagedTensor, as NumPy writes it."""


DELETER = c.CFUNCTYPE(None, c.c_void_p)
Managed._fields_ = [("data", c.c_void_p), ("device_type", c.c_int32), ("device_id", c.c_int32), ("ndim", c.c_int32),
                    ("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16), ("shape", c.POINTER(c.c_int64)),
                    ("strides", c.POINTER(c.c_int64)), ("byte_offset", c.c_uint64), ("context", c.c_void_p),
                    ("deleter", DELETER)]


class Versioned(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("context", c.c_void_p), ("deleter", DELETER),
                ("flags", c.c_uint64)] + Managed._fields_[:-2]


class Producer:
    """What numpy.from_dlpack asks for."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, stream=None):
        managed = c.c_void_p()
        self.tensor.library.check(self.tensor.library.lib.hyp_tensor_to_dlpack(self.tensor.p, c.byref(managed)))
        return api.PyCapsule_New(managed.value, b"dltensor", None)

    def __dlpack_device__(self):
        return (1, 0)


def export_to_numpy(library):
    t = library.call("arange", library.dtypes["f32"], c.c_double(0), c.c_double(24), c.c_double(1))
    t = t.view("reshape", 3, library.longs((2, 3, 4))).view("transpose", 0, 2)
    array = np.from_dlpack(Producer(t))
    want = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 1, 0)
    assert (array == want).all() and array.strides == want.strides, array
    library.check(library.lib.hyp_tensor_fill(t.p, library.scalar(7)))
    assert (array == 7).all(), "not the same memory"
    del t
    gc.collect()
    assert library.live() == 1, library.live()  # NumPy's own reference
    assert (array == 7).all()
    array = None
    gc.collect()
    assert library.live() == 0, "NumPy let go and the tensor is still there"
    for dtype in ("f16", "f64", "i8", "i16", "i32", "i64", "u8"):
        t = library.call("ones", library.dtypes[dtype], 1, library.longs((5,)))
        array = np.from_dlpack(Producer(t))
        assert array.dtype == library.numpy[dtype] and (array == 1).all(), dtype
    for shape in ((), (0, 3), (2, 1, 1, 2, 1, 2, 1, 1, 2)):
        t = library.call("zeros", library.dtypes["f32"], len(shape), library.longs(shape))
        assert np.from_dlpack(Producer(t)).shape == shape


def import_from(library, array):
    """A tensor over NumPy's capsule, and a weak reference to the array that owns the memory."""
    capsule = array.__dlpack__()
    pointer = api.PyCapsule_GetPointer(capsule, b"dltensor")
    t = library.call("from_dlpack", c.c_void_p(pointer))
    api.PyCapsule_SetName(capsule, b"used_dltensor")
    return t


def import_from_numpy(library):
    class Array(np.ndarray):
        """An array that can be watched."""

    for source in (np.arange(60, dtype=np.int32).reshape(3, 4, 5), np.arange(60.0).reshape(3, 4, 5)[::-1, 1:, ::2],
                   np.broadcast_to(np.arange(4, dtype=np.int16), (3, 4)), np.array(5.0), np.zeros((0, 2))):
        array = source.view(Array) if source.flags.writeable else source.copy().view(Array)
        t = import_from(library, array)
        assert t.shape == array.shape and (t.numpy() == np.asarray(array)).all()
        watch = weakref.ref(array)
        view = t.view("view")
        if array.size:
            np.asarray(array)[...] = 3
            assert (view.numpy() == 3).all(), "not the same memory"
        del array, t
        gc.collect()
        assert watch() is not None, "the array went while a view of it was left"
        del view
        gc.collect()
        assert watch() is None, "the array is kept although nobody uses it"


def versioned(library):
    """The newer structure, which NumPy 1 does not know: out and in again through our own two ends."""
    base = np.arange(12, dtype=np.float32)
    before = library.live()
    for flags in (0, 1):
        t = library.call("from_foreign", library.dtypes["f32"], 2, library.longs((3, 4)), None, c.c_void_p(base.ctypes.data),
                         c.c_size_t(0), c.c_size_t(base.nbytes), 0, flags, None, None)
        managed = c.c_void_p()
        if flags:
            assert library.lib.hyp_tensor_to_dlpack(t.p, c.byref(managed)) != 0, "the old form cannot say read-only"
        library.check(library.lib.hyp_tensor_to_dlpack_versioned(t.p, c.byref(managed)))
        m = c.cast(managed, c.POINTER(Versioned)).contents
        assert (m.major, m.minor, m.flags, m.ndim, m.code, m.bits) == (1, 1, flags, 2, 2, 32)
        back = library.call("from_dlpack_versioned", managed)
        assert (back.numpy() == base.reshape(3, 4)).all()
        assert library.lib.hyp_tensor_is_read_only(back.p) % 256 == flags
        if flags:
            assert library.lib.hyp_tensor_fill(back.p, library.scalar(1)) != 0, "wrote to a read-only tensor"
        m.major = 2
        try:
            library.call("from_dlpack_versioned", managed)
            raise AssertionError("another major version was taken")
        except hyp.Error as error:
            assert error.status == "ERR_UNSUPPORTED", error
        m.major = 1
        del t, back
        gc.collect()
        assert library.live() == before, library.live()


def refused(library):
    """Foreign structures that cannot be taken are left to their owner."""
    array, calls = np.zeros(8, np.float32), []
    shape, strides = (c.c_int64 * 2)(2, 4), (c.c_int64 * 2)(4, 1)

    def managed(**changes):
        m = Managed(array.ctypes.data, 1, 0, 2, 2, 32, 1, shape, strides, 0, None, DELETER(calls.append))
        for name, value in changes.items():
            setattr(m, name, value)
        return m

    for changes, status in (({"device_type": 2}, "ERR_DEVICE"), ({"lanes": 4}, "ERR_TYPE"), ({"code": 5}, "ERR_TYPE"),
                            ({"bits": 24}, "ERR_TYPE"), ({"ndim": 99}, "ERR_SHAPE"), ({"ndim": -1}, "ERR_SHAPE"),
                            ({"data": None}, "ERR_INVALID"), ({"byte_offset": 2}, "ERR_INVALID"),
                            ({"shape": (c.c_int64 * 2)(-1, 4)}, "ERR_SHAPE"),
                            ({"shape": (c.c_int64 * 2)(2**62, 8)}, "ERR_OVERFLOW"),
                            ({"strides": (c.c_int64 * 2)(2**62, 1)}, "ERR_OVERFLOW")):
        m = managed(**changes)
        try:
            library.call("from_dlpack", c.byref(m))
            raise AssertionError(f"{changes} was taken")
        except hyp.Error as error:
            assert error.status == status and "argument" in str(error), (changes, str(error))
    assert not calls, "the deleter was called for a structure that was refused"
    m = managed(strides=c.POINTER(c.c_int64)())
    t = library.call("from_dlpack", c.byref(m))
    assert t.strides == (4, 1)
    del t
    gc.collect()
    assert len(calls) == 1, "the deleter is called once"


def main():
    library = hyp.Library(sys.argv[1], sys.argv[2])
    for test in (export_to_numpy, import_from_numpy, versioned, refused):
        test(library)
        gc.collect()
        assert library.live() == 0, (test.__name__, library.live())
        print(test.__name__, "ok")


if __name__ == "__main__":
    main()
