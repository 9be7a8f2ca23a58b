"""The same call in PyTorch: values, gradients, and gradients of gradients must agree."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional


def function(library, name):
    """A function or method by its dotted name."""
    found = library
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if found is not None else getattr(library.Tensor, name)


class Constant(np.ndarray):
    """An array that takes no gradient: a weight."""

    def __new__(cls, array):
        return np.asarray(array).view(cls)


def as_torch(x, grads):
    torch = pytest.importorskip("torch")
    if isinstance(x, np.ndarray):
        grads = grads and x.dtype.kind == "f" and not isinstance(x, Constant)
        return torch.tensor(np.asarray(x), requires_grad=grads)
    return [as_torch(i, grads) for i in x] if isinstance(x, list) else x


def as_minidl(x, grads):
    if isinstance(x, np.ndarray):
        grads = grads and x.dtype.kind == "f" and not isinstance(x, Constant)
        return minidl.tensor(np.asarray(x), requires_grad=grads)
    return [as_minidl(i, grads) for i in x] if isinstance(x, list) else x


def compare(name, *arguments, order=2, rtol=1e-9, **settings):
    """`name(*arguments, **settings)` in both; arrays become tensors, floats take gradients."""
    torch = pytest.importorskip("torch")
    results = []
    for library, convert in ((torch, as_torch), (minidl, as_minidl)):
        given = [convert(a, order > 0) for a in arguments]
        named = {k: convert(v, order > 0) for k, v in settings.items()}
        out = function(library, name)(*given, **named)
        outs = list(out) if isinstance(out, (tuple, list)) else [out]
        flat = [x for a in (*given, *named.values()) for x in (a if isinstance(a, list) else [a])]
        leaves = [x for x in flat if getattr(x, "requires_grad", False)]
        results.append([_arrays(outs), *_gradients(library, outs, leaves, order)])
    for what, want, got in zip(("value", "gradient", "second gradient"), *results):
        assert len(want) == len(got)
        for w, g in zip(want, got):
            if w is None or g is None:
                assert w is None or not np.any(w), f"{name}: {what} missing"
                assert g is None or not np.any(g), f"{name}: {what} should be 0"
                continue
            assert w.shape == g.shape, f"{name}: {what} {g.shape}, not {w.shape}"
            assert w.dtype == g.dtype, f"{name}: {what} {g.dtype}, not {w.dtype}"
            np.testing.assert_allclose(g, w, rtol, 1e-10, err_msg=f"{name}: {what}")


def _arrays(tensors):
    return [None if t is None else np.array(t.detach().numpy(force=True)) for t in tensors]


def _projected(library, tensors, seed):
    rng, total = np.random.default_rng(seed), None
    for t in tensors:
        if t is not None and t.requires_grad:
            weight = np.asarray(rng.standard_normal(tuple(t.shape)), np.asarray(t.detach()).dtype)
            part = (t * library.tensor(weight)).sum()
            total = part if total is None else total + part
    return total


def _gradients(library, outs, leaves, order):
    found = []
    total = _projected(library, outs, 1) if leaves else None
    for step in range(order):
        if total is None:
            break
        more = step + 1 < order
        parts = library.autograd.grad(total, leaves, create_graph=more, allow_unused=True)
        found.append(_arrays(parts))
        total = _projected(library, parts, 2 + step) if more else None
    return found
