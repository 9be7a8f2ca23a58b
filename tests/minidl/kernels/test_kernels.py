"""Every kernel against its reference, on every case."""

import numpy as np
import pytest

from minidl.kernels import HOMES, REGISTRY, load_all
from minidl.testing import check_kernel
from tests.cases.kernels import CASES

load_all()
NAMES = sorted(name for name in REGISTRY if "." not in name)  # those of minidl itself


def test_every_kernel_has_a_case():
    assert set(NAMES) == set(CASES)


def test_every_kernel_is_a_name_of_the_package():
    listed = {name for names in HOMES.values() for name in names}
    assert set(NAMES) <= listed


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_kernel_equals_its_reference(name, dtype):
    check_kernel(REGISTRY[name], CASES[name](np.random.default_rng(0), dtype))


def test_no_kernel_has_the_name_of_a_file():
    """Importing the file would put the module in the kernel's place."""
    assert not set(HOMES) & {name for names in HOMES.values() for name in names}
