"""Arrays that are freed and made again cost no page faults."""

import subprocess
import sys

import pytest

from minidl import kernels
from minidl.kernels import _memory

CODE = """
import resource
import numpy as np
from minidl import kernels

x = np.ones(4096, np.float32)
kernels.exp_forward(x, x)  # the first kernel sets it up

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    for size in (300_000, 700_000, 200_000):  # more than one page, less than an own mapping
        a = np.ones(size)
        b = a + 1

step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


def test_freed_memory_is_used_again():
    if not _memory.keep_freed_memory():
        pytest.skip("this C library's malloc has no such setting, or the user has chosen one")
    if not kernels.ENABLED:
        pytest.skip("it is set up with the first compiled kernel")
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 500  # 47,000 without


def test_a_users_own_setting_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not _memory.keep_freed_memory()
