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
        assert isinstance(op.flops(*shapes), (int, np.integer)), f"{name}: flops(*shapes) -> int"
        assert op.bytes(*arrays) >= 0
