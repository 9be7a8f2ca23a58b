"""What every op must do, on the inputs of `tests/cases`: a new op cannot land untested."""

import importlib
import pkgutil

import numpy as np
import pytest

import minidl.ops
from minidl.ops._op import REGISTRY
from minidl.testing import check_gradients
from tests import cases

for _module in pkgutil.iter_modules(minidl.ops.__path__):
    importlib.import_module(f"minidl.ops.{_module.name}")

CASES: dict = {}
for _module in pkgutil.iter_modules(cases.__path__):
    if _module.name != "kernels" and not _module.name.startswith("_"):
        for _name, _sampler in importlib.import_module(f"tests.cases.{_module.name}").CASES.items():
            assert _name not in CASES, f"op {_name} has samplers in two files"
            CASES[_name] = _sampler


def test_every_op_has_a_case():
    assert set(REGISTRY) == set(CASES)


@pytest.mark.parametrize("name", sorted(set(REGISTRY) & set(CASES)))
def test_gradients(name):
    op = REGISTRY[name]
    for number, case in enumerate(CASES[name](np.random.default_rng(0))):
        try:
            check_gradients(
                op, *case.arrays, atol=case.atol, order=2 if case.order2 else 1, **case.settings
            )
        except AssertionError as error:
            raise AssertionError(f"case {number} {case.note}: {error}") from None


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_page_to_read(name):
    """The docstring is a textbook page: what, equation, shapes; and its cost can be asked for."""
    op = REGISTRY[name]
    text = op.__doc__ or ""
    assert "Shapes:" in text, f"{name}: the docstring must state the shapes"
    if op.differentiable:
        assert "=" in text, f"{name}: the docstring must give the equation and its derivative"
        assert "d" in text.split("Shapes:")[0]
    for case in CASES[name](np.random.default_rng(0)) if name in CASES else ():
        shapes = [np.shape(a) for a in case.arrays]
        arrays = [a for a in case.arrays if isinstance(a, np.ndarray)]
        work = op.flops(*shapes), op.flops(*shapes, **case.settings)
        work += (op.flops_backward(*shapes, **case.settings),)
        for count in work:
            assert isinstance(count, (int, np.integer)), f"{name}: flops(*shapes, **settings)"
            assert count >= 0
        assert op.bytes(*arrays) >= 0
        assert op.bytes_backward(*arrays) >= 0
        if not op.differentiable:
            assert op.flops_backward(*shapes) == op.bytes_backward(*arrays) == 0


# (op, shapes, settings, multiplications and additions forward, and backward), counted by hand
HAND_COUNTED = [
    ("Add", [(3, 4), (4,)], {}, 3 * 4, 2 * 3 * 4),
    ("MatMul", [(2, 3), (3, 4)], {}, 2 * 2 * 3 * 4, 2 * (2 * 2 * 3 * 4)),
    ("MatMul", [(5, 1, 2, 3), (7, 3, 4)], {}, 5 * 7 * 2 * 2 * 3 * 4, 2 * 5 * 7 * 2 * 2 * 3 * 4),
    ("Linear", [(6, 5, 3), (4, 3), (4,)], {}, 2 * 30 * 3 * 4, 2 * (2 * 30 * 3 * 4)),
    # 5 places of a kernel of 3 with stride 2 on 11 numbers; 2 images, 4 channels to 6
    ("Conv", [(2, 4, 11), (6, 4, 3), ()], {"size": (5,)}, 2 * 2 * 5 * 6 * 4 * 3, None),
    # in 2 groups: each of the 6 channels sees 2
    ("Conv", [(2, 4, 11), (6, 2, 3), ()], {"size": (5,)}, 2 * 2 * 5 * 6 * 2 * 3, None),
    ("ConvTranspose", [(2, 4, 5), (4, 6, 3), ()], {"size": (11,)}, 2 * 2 * 5 * 6 * 4 * 3, None),
    ("ConvWeight", [(2, 4, 11), (2, 6, 5)], {"kernel": (3,)}, 2 * 2 * 5 * 6 * 4 * 3, None),
    ("Reshape", [(3, 4)], {"shape": (12,)}, 0, 0),
]


@pytest.mark.parametrize(("name", "shapes", "settings", "forward", "backward"), HAND_COUNTED)
def test_flops_counted_by_hand(name, shapes, settings, forward, backward):
    op = REGISTRY[name]
    assert op.flops(*shapes, **settings) == forward
    assert op.flops_backward(*shapes, **settings) == (2 * forward if backward is None else backward)


def test_bytes_counted_by_hand():
    x, row = np.zeros((6, 5), np.float32), np.zeros(5, np.float32)
    assert REGISTRY["Mul"].bytes(x, x) == 3 * 120
    assert REGISTRY["Mul"].bytes_backward(x, x) == 120 + 2 * 120 + 2 * 120  # dout, saved, gradients
    assert REGISTRY["Exp"].bytes(x) == 2 * 120
    assert REGISTRY["Exp"].bytes_backward(x) == 3 * 120  # dout, out, dx
    assert REGISTRY["Add"].bytes(x, row) == 120 + 20 + 120
    assert REGISTRY["Reshape"].bytes(x) == 0
    ids = np.zeros(4, np.int64)
    assert REGISTRY["Embedding"].bytes(x, ids) == 4 * 8 + 2 * 4 * 20
