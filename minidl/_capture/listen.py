"""While a step is recorded, the engine reports to the recorder: what is changed, and put back.

Nothing of this is there when no step is being recorded, so eager code pays nothing for it. All
threads see the changes, and only the recording one is listened to.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl import _tensor, _walk
from minidl._capture import backward
from minidl._capture.leaves import raw_array
from minidl._capture.program import CaptureError, mapped
from minidl._capture.recorder import Recorder
from minidl._capture.traced import (
    _ENGINE,
    Traced,
    call,
    inside_op,
    plain,
    read,
    recording,
    traced,
    user_line,
)
from minidl._tensor import Node, Tensor
from minidl.ops._op import set_allocator

_one_at_a_time = threading.RLock()
_array_slot, _grad_slot = Tensor.__dict__["array"], Tensor.__dict__["grad"]
_init = Tensor.__init__

_RAW = {*_ENGINE, "minidl._tensor", "minidl._walk"}
_DRAWS = (
    "beta", "binomial", "bytes", "chisquare", "choice", "dirichlet", "exponential", "gamma",
    "geometric", "gumbel", "integers", "laplace", "logistic", "lognormal", "multinomial",
    "multivariate_normal", "normal", "pareto", "permutation", "permuted", "poisson", "power",
    "random", "standard_cauchy", "standard_exponential", "standard_gamma", "standard_normal",
    "standard_t", "triangular", "uniform", "vonmises", "wald", "weibull",
)  # fmt: skip


@contextmanager
def listening(recorder: Recorder) -> Iterator[None]:
    """Report all that this thread does to `recorder`."""
    with _one_at_a_time:
        undo: list[Callable[[], None]] = []
        recorder.first_seq = next(_tensor._count)
        try:
            for owner, name, new in _changes(recorder):
                undo.append(_put(owner, name, new))
            _tensor.recorders.append(recorder.on_op)
            _tensor.observers.append(recorder.on_node)
            before = set_allocator(recorder.allocate)
            undo.append(lambda: (set_allocator(before), None)[1])
            _tensor.hosts.append(lambda f, a, k: recorder.on_host(f, a, k)
                                 if recorder.listens() else f(*a, **k))  # fmt: skip
            undo.append(lambda: (_tensor.hosts.pop(), None)[1])
            recording.append(recorder)
            yield
        finally:
            if recording and recording[-1] is recorder:
                recording.pop()
                _tensor.recorders.remove(recorder.on_op)
                _tensor.observers.remove(recorder.on_node)
            for step in reversed(undo):
                step()


def _put(owner: Any, name: str, new: Any) -> Callable[[], None]:
    absent = object()
    before = owner.__dict__.get(name, absent)
    setattr(owner, name, new)

    def undo() -> None:
        if before is absent:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return undo


def _changes(recorder: Recorder) -> Iterator[tuple[Any, str, Any]]:
    """(owner, attribute, what it is while recording)."""
    yield from _of_tensors(recorder)
    yield _walk, "_walk", lambda *a, **k: _walked(recorder, a, k)
    yield _walk, "_deposit", lambda *a: _deposited(recorder, a)
    yield _walk, "_on_tape", lambda node, saved: _put_on_tape(recorder, node, saved)
    pull: Any = sys.modules.get("minidl.autograd._pull")
    if pull is not None:
        yield pull, "_walk", lambda *a, **k: _walked(recorder, a, k)
    yield from _of_programs(recorder)
    yield from _of_kernels(recorder)
    yield from _of_numpy(recorder)


def _walked(recorder: Recorder, args: Any, kwargs: Any) -> Any:
    if not recorder.listens():
        return backward._plain_walk(*args, **kwargs)
    return backward.walk(recorder, *args, **kwargs)


def _deposited(recorder: Recorder, args: Any) -> None:
    if recorder.listens():
        backward.deposit(recorder, *args)
    else:
        backward._plain_deposit(*args)


def _put_on_tape(recorder: Recorder, node: Node, saved: Any) -> Any:
    if not recorder.listens():
        return backward._plain_on_tape(node, saved)
    return backward.on_tape(recorder, node, saved)


def _of_tensors(recorder: Recorder) -> Iterator[tuple[Any, str, Any]]:
    def init(self: Tensor, *args: Any, **kwargs: Any) -> None:
        if threading.get_ident() == recorder.thread:
            recorder.note_tensor(self)
        _init(self, *args, **kwargs)

    def get_array(self: Tensor) -> Any:
        raw = _array_slot.__get__(self)
        if not recorder.listens() or sys._getframe(1).f_globals.get("__name__") in _RAW:
            return raw
        recorder.of_tensor(self)  # known from now on, also by its memory
        return traced(raw)

    def set_array(self: Tensor, value: Any) -> None:
        if type(value) is Traced:
            value = plain(value)
        if recorder.listens() and not recorder.made_here(self) and value is not raw_array(self):
            raise CaptureError(
                f"capture: a tensor older than the step is given another storage (.data = ...) at "
                f"{user_line()[0]}; write into it: x.copy_(value) under no_grad()"
            )
        _array_slot.__set__(self, value)

    def get_grad(self: Tensor) -> Any:
        grad = _grad_slot.__get__(self)
        if grad is not None and recorder.listens() and not _in_engine():
            recorder.on_grad_get(self, grad)
        return grad

    def set_grad(self: Tensor, grad: Any) -> None:
        if recorder.listens() and not _in_engine():
            recorder.on_grad_set(self, grad)
        _grad_slot.__set__(self, grad)

    yield Tensor, "array", property(get_array, set_array)
    yield Tensor, "grad", property(get_grad, set_grad)
    yield Tensor, "__init__", init
    for name, of in _READS.items():
        yield Tensor, name, _reading(recorder, name, of, getattr(Tensor, name))
    numpy = Tensor.numpy

    def as_numpy(self: Tensor, *, force: bool = False) -> Any:
        if not recorder.listens():
            return numpy(self, force=force)
        where, own = user_line()
        if not own:
            raise CaptureError(
                f"capture: numpy() at {where} takes the values out of the step; return the tensor "
                "and look at it outside"
            )
        recorder.of_tensor(self)
        return traced(numpy(self, force=force))

    def as_array(self: Tensor, dtype: Any = None, copy: Any = None) -> Any:
        if not recorder.listens():
            array = numpy(self)
            return array if dtype is None and not copy else np.array(array, dtype=dtype)
        where, _ = user_line()
        raise CaptureError(
            f"capture: NumPy takes the values of a tensor out of the step at {where}; use minidl's "
            "function of that name, or return the tensor and compute outside"
        )

    yield Tensor, "numpy", as_numpy
    yield Tensor, "__array__", as_array


def _in_engine() -> bool:
    return sys._getframe(2).f_globals.get("__name__") in ("minidl._walk", "minidl._tensor",
                                                        "minidl._capture.backward")  # fmt: skip


_READS: dict[str, Any] = {
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "__bool__": bool,
    "__float__": float,
    "__int__": int,
    "__index__": int,
    "__repr__": repr,
    "__format__": None,
}


def _reading(recorder: Recorder, name: str, of: Any, before: Any) -> Any:
    def reading(self: Tensor, *args: Any) -> Any:
        if not recorder.listens():
            return before(self, *args)
        if name in ("__repr__", "__format__"):
            if user_line()[1]:
                return object.__repr__(self)  # an error's text
            where = user_line()[0]
            raise CaptureError(
                f"capture: a tensor is printed at {where}; return it and print it outside the step"
            )
        recorder.paused += 1
        try:
            value = before(self, *args)  # with its errors
        finally:
            recorder.paused -= 1
        recorder.of_tensor(self)
        return (
            read(traced(raw_array(self)), name.strip("_"), lambda _: value)
            if of is None
            else (_noted(recorder, self, name.strip("_"), of, value))
        )

    return reading


def _noted(recorder: Recorder, x: Tensor, name: str, of: Any, value: Any) -> Any:
    if not inside_op():
        recorder.on_read(raw_array(x), name, of, value)
    return value


def _hosted(recorder: Recorder, before: Any, after: Any = None) -> Any:
    def hosted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not recorder.listens():
            return before(self, *args, **kwargs)
        result = recorder.on_host(before.__get__(self), args, kwargs)
        if after is not None:
            after(self)
        return result

    return hosted


def _of_programs(recorder: Recorder) -> Iterator[tuple[Any, str, Any]]:
    """Modules (which ones run), optimizers, schedules, averages, random numbers."""
    from minidl import random

    module: Any = sys.modules.get("minidl.nn.module")
    if module is not None:
        forward = module.Module.__call__

        def called(self: Any, *args: Any, **kwargs: Any) -> Any:
            if recorder.listens():
                recorder.modules[id(self)] = self
            return forward(self, *args, **kwargs)

        yield module.Module, "__call__", called

    def cleared(optimizer: Any) -> None:
        for group in optimizer.param_groups:
            recorder.cleared.update(id(p) for p in group["params"])

    for home, base, names in _HOSTS:
        place: Any = sys.modules.get(home)
        for cls in _family(getattr(place, base)) if place is not None else ():
            for name in names:
                if name in cls.__dict__ and callable(cls.__dict__[name]):
                    after = cleared if name == "zero_grad" else None
                    yield cls, name, _hosted(recorder, cls.__dict__[name], after)
    for name in _DRAWS:
        yield random.Generator, name, _drawing(recorder, getattr(np.random.Generator, name))
    for name in ("shuffle",):
        yield random.Generator, name, _undrawn(recorder, getattr(np.random.Generator, name))
    for name in ("manual_seed", "set_rng_state", "get_rng_state", "seed"):
        yield random, name, _undrawn(recorder, getattr(random, name))


_HOSTS = (
    ("minidl.optim.optimizer", "Optimizer", ("step", "zero_grad")),
    ("minidl.optim.lr_scheduler.base", "LRScheduler", ("step",)),
    ("minidl.optim.swa_utils", "AveragedModel", ("update_parameters",)),
)


def _family(cls: Any) -> Iterator[Any]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


def _drawing(recorder: Recorder, before: Any) -> Any:
    def drawing(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not recorder.listens() or inside_op():
            return before(self, *args, **kwargs)
        return recorder.on_draw(before.__get__(self), args, kwargs)

    return drawing


def _undrawn(recorder: Recorder, before: Any) -> Any:
    def undrawn(*args: Any, **kwargs: Any) -> Any:
        if recorder.listens():
            raise CaptureError(
                f"capture: {before.__name__} at {user_line()[0]} changes or reads the random "
                "state, which a replay would not do; call it outside the step"
            )
        return before(*args, **kwargs)

    return undrawn


def _of_numpy(recorder: Recorder) -> Iterator[tuple[Any, str, Any]]:
    """What makes arrays: NumPy asks no subclass here, so a Traced would be lost on the way."""
    for name in _MAKERS[:5]:
        yield np, name, _converting(_own_makers[name])
    for name in _MAKERS[5:]:
        yield np, name, _making(recorder, _own_makers[name])


_MAKERS = (
    "array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray",
    "empty", "zeros", "ones", "full", "arange", "eye",
)  # fmt: skip
_own_makers = {name: getattr(np, name) for name in _MAKERS}


@contextmanager
def _numpy_itself() -> Iterator[None]:
    """NumPy's own functions, while a kernel runs: it may be compiled now, and Numba knows those."""
    changed = {name: getattr(np, name) for name in _MAKERS}
    for name, function in _own_makers.items():
        setattr(np, name, function)
    try:
        yield
    finally:
        if recording:
            for name, function in changed.items():
                setattr(np, name, function)


def _converting(before: Any) -> Any:
    def converting(*args: Any, **kwargs: Any) -> Any:
        if not args or not _has_traced(args[0]):
            return before(*args, **kwargs)
        return call(before, args, kwargs)

    return converting


def _has_traced(x: Any) -> bool:
    if type(x) in (tuple, list):
        return any(_has_traced(branch) for branch in x)
    return type(x) is Traced


def _making(recorder: Recorder, before: Any) -> Any:
    def making(*args: Any, **kwargs: Any) -> Any:
        made = before(*mapped(args, plain), **mapped(kwargs, plain))
        name = sys._getframe(1).f_globals.get("__name__", "")
        if not name.startswith("minidl.") or not recorder.listens() or inside_op():
            return made
        if before is _own_makers["empty"]:
            made[...] = 0  # recordings would differ by what lay there
        return traced(made)  # a constant, unless something of the step is written into it

    return making


def _of_kernels(recorder: Recorder) -> Iterator[tuple[Any, str, Any]]:
    from minidl.kernels import _jit
    from minidl.ops import _math

    for cls in (_jit.Kernel, _jit.ParallelKernel):
        yield cls, "__call__", _kernel_call(recorder, cls.__call__)
    choose = _math.suited

    def suited(kernel: Any, x: Any) -> Any:
        function = choose(kernel, plain(x))  # as eager chooses: a Traced is an array too
        if not recorder.listens() or inside_op():
            return function
        return lambda *args: recorder.on_call(
            function, args, {}, mapped(args, plain), {}, [a for a in args if type(a) is Traced]
        )

    yield _math, "suited", suited


def _kernel_call(recorder: Recorder, before: Any) -> Any:
    def kernel_call(self: Any, *args: Any) -> None:
        given = tuple([plain(a) for a in args])
        if not recorder.listens() or inside_op():
            with _numpy_itself():
                before(self, *given)
            return
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        recorder.on_call(self, args, {}, given, {}, arrays)

    return kernel_call
