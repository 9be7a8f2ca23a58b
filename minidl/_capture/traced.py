"""Traced: the array that code outside the engine sees while a step is recorded.

Most of a step is ops, which `apply` reports. Between them functions compute on `tensor.array` with
NumPy: labels are made contiguous, masks compared, running statistics moved. While recording, that
array is a Traced, and what NumPy does with it is reported as well. Whoever asks it for a Python
number branches on data: that is refused, or noted as a condition of the program.
"""

import sys
from typing import Any

import numpy as np

from minidl._capture.program import CaptureError, mapped

_ENGINE = {"minidl._apply", "minidl._capture.backward"}
"""Who calls ops on arrays. Not the engine's own walk: while recording it runs under create_graph
only, and calls an op's backward, or its twin, on Tensors: code between ops, as a function's is."""
_PASSED = ("numpy", "minidl.ops", "minidl.kernels", "minidl._capture")

recording: list[Any] = []
"""The recorder that is at work, if any."""


def active() -> Any:
    """The recorder of this thread, if it is listening."""
    recorder = recording[-1] if recording else None
    return recorder if recorder is not None and recorder.listens() else None


def inside_op() -> bool:
    """Whether the code that runs is an op's own, under `apply` or a backward walk."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name in _ENGINE:
            return True
        if not name.startswith(_PASSED):
            return False
        frame = frame.f_back
    return False


def user_line() -> tuple[str, bool]:
    """(file:line of the first frame outside NumPy and capture, whether that is minidl's own)."""
    frame: Any = sys._getframe(1)
    first = None
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("numpy", "minidl._capture", "contextlib", "functools")):
            if first is None:
                first = name
            if not name.startswith("minidl.") or name == "minidl.__main__":
                break
        frame = frame.f_back
    if frame is None:
        return "?", True
    place = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
    return place, first is not None and first.startswith("minidl.")


class Traced(np.ndarray):
    """A view of `raw`, the array itself, that reports what is done with it."""

    raw: Any

    def __array_finalize__(self, obj: Any) -> None:
        self.raw = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return call(function, inputs, kwargs, first_written=method == "at")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call(function, args, kwargs, first_written=function.__name__ in _WRITERS)

    def __getitem__(self, key: Any) -> Any:
        if _has_mask(key) and active() is not None and not inside_op():
            _refuse_shape("indexing with a boolean mask")
        return call(np.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        call(np.ndarray.__setitem__, (self, key, value), {}, first_written=True)

    def __bool__(self) -> bool:
        return bool(read(self, "bool", bool))

    def __float__(self) -> float:
        return float(read(self, "float", float))

    def __int__(self) -> int:
        return int(read(self, "int", int))

    def __index__(self) -> int:
        return int(read(self, "index", int))

    def item(self, *args: Any) -> Any:
        return read(self, "item", lambda x: x.item(*args))

    def tolist(self) -> Any:
        return read(self, "tolist", lambda x: x.tolist())

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise CaptureError("capture: an array of the step cannot be pickled while it is recorded")


_WRITERS = {"copyto", "put_along_axis", "put", "place", "putmask", "fill_diagonal"}
_METHODS = (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip", "conj",
    "copy", "cumprod", "cumsum", "diagonal", "dot", "flatten", "max", "mean", "min", "prod",
    "ravel", "repeat", "reshape", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes",
    "take", "trace", "transpose", "var", "view",
)  # fmt: skip
_IN_PLACE = ("fill", "itemset", "partition", "put", "resize", "sort", "byteswap", "setfield")
_ABOUT = {  # what they say does not depend on the elements
    "can_cast", "iscomplexobj", "isrealobj", "may_share_memory", "min_scalar_type", "ndim",
    "result_type", "shape", "shares_memory", "size",
}  # fmt: skip
_SHAPES = {
    "nonzero", "flatnonzero", "argwhere", "unique", "compress", "extract", "bincount", "trim_zeros",
    "union1d", "intersect1d", "setdiff1d", "setxor1d", "unique_values", "unique_counts",
}  # fmt: skip


def _method(name: str, written: bool) -> Any:
    plain = getattr(np.ndarray, name, None)

    def reported(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return call(plain, (self, *args), kwargs, first_written=written)

    reported.__name__ = name
    return plain and reported


for _name in (*_METHODS, *_IN_PLACE):
    if hasattr(np.ndarray, _name):
        setattr(Traced, _name, _method(_name, _name in _IN_PLACE))


def _nonzero(self: Traced) -> Any:
    if active() is not None and not inside_op():
        _refuse_shape("nonzero")
    return plain(self).nonzero()


Traced.nonzero = _nonzero  # type: ignore[method-assign, assignment]
Traced.T = property(lambda self: self.transpose())  # type: ignore[assignment]


def plain(x: Any) -> Any:
    """The array itself of a Traced; anything else as it is."""
    if type(x) is not Traced:
        return x
    return np.ndarray.view(x, np.ndarray) if x.raw is None else x.raw


def traced(raw: Any) -> Any:
    """A Traced of an array."""
    view = np.ndarray.view(raw, Traced)
    view.raw = raw
    return view


def call(function: Any, args: Any, kwargs: Any, first_written: bool = False) -> Any:
    """Run a function of arrays on the arrays themselves, and report it."""
    given, named = mapped(args, plain), mapped(kwargs, plain)
    recorder = active()
    if recorder is None or inside_op():
        return function(*given, **named)
    name = getattr(function, "__name__", "")
    if name in _ABOUT:
        return function(*given, **named)
    if name in _SHAPES or (name == "where" and len(args) == 1):
        _refuse_shape(name)
    if name == "repeat" and isinstance(given[1] if len(given) > 1 else None, np.ndarray):
        _refuse_shape(name)
    written = [args[0]] if first_written else []
    out = kwargs.get("out")
    if out is not None:
        written += [x for x in (out if isinstance(out, tuple) else (out,)) if x is not None]
    return recorder.on_call(function, args, kwargs, given, named, written)


def read(x: Traced, name: str, of: Any) -> Any:
    """A Python value of an array: a condition of the program if minidl asks, else an error."""
    array = plain(x)
    value = of(array)
    recorder = active()
    if recorder is None or inside_op():
        return value
    recorder.on_read(array, name, of, value)
    return value


def _has_mask(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(type(k) is Traced and k.dtype.kind == "b" for k in parts)


def _refuse_shape(name: str) -> None:
    where, _ = user_line()
    raise CaptureError(
        f"capture: {name} at {where} has an output whose shape depends on the data; keep a fixed "
        "shape (a mask or a weight of 0 instead of leaving elements out), or do it outside the step"
    )
