"""Every kernel against its reference, on every case."""

import numpy as np
import pytest

from minidl.kernels import REGISTRY
from minidl.testing import check_kernel
from tests.cases.kernels import CASES

NAMES = sorted(name for name in REGISTRY if "." not in name)  # those of minidl itself


def test_every_kernel_has_a_case():
    assert set(NAMES) == set(CASES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_kernel_equals_its_reference(name, dtype):
    check_kernel(REGISTRY[name], CASES[name](np.random.default_rng(0), dtype))
