"""What the tape keeps, and for how long."""

import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels, no_grad, tensor
from minidl.autograd import Function
from minidl.nn.functional import softmax
from minidl.ops import _memory

ROOT = Path(__file__).parents[2]

STEPS = """
import numpy as np
from minidl import no_grad, tensor
rng = np.random.default_rng(0)
x = tensor(rng.standard_normal((4, 8)))
w = tensor(rng.standard_normal((8, 8)), requires_grad=True)
def pages():
    return int(open("/proc/self/statm").read().split()[1])
def steps(n):
    for _ in range(n):
        w.grad = None
        y = (x @ w).tanh()
        y = y * y.detach() + y.sum()
        y.sum().backward()
        w.array[...] -= 1e-3 * w.grad.array
steps(2_000)
before = pages()
steps(100_000)
print((pages() - before) * 4096)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_100_000_steps_do_not_grow_the_process():
    done = subprocess.run(
        [sys.executable, "-c", STEPS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2 << 20  # bytes: the heap's breathing


class Watched(Function):
    """An op whose saved object is watched: backward notes how many of all are still alive."""

    @staticmethod
    def forward(ctx, x, contexts, alive):
        contexts.append(weakref.ref(ctx))
        ctx.contexts, ctx.alive = contexts, alive
        return x * 1.0

    @staticmethod
    def backward(ctx, dout):
        ctx.alive.append(sum(ref() is not None for ref in ctx.contexts))
        return dout, None, None


def test_backward_frees_as_it_walks():
    contexts, alive = [], []
    y = tensor([1.0], requires_grad=True)
    for _ in range(5):
        y = Watched.apply(y, contexts, alive)
    y.backward()
    assert alive == [5, 4, 3, 2, 1]
    assert [ref() for ref in contexts] == [None] * 5


def test_no_grad_keeps_nothing():
    x = tensor(np.ones(3), requires_grad=True)
    with no_grad():
        y = x * 2.0
        ref = weakref.ref(y)
        z = (y * y).sum()
        del y
    assert ref() is None
    assert z.node is None


def test_a_constant_operand_leaves_only_its_shape():
    big = tensor(np.ones(1000))
    w = tensor(np.ones(1000), requires_grad=True)
    y = w * big
    assert y.node.saved[0] == (1000,)  # of w only the shape: its value is not needed


def test_large_arrays_start_at_places_in_turn():
    count = _memory.LARGE // 4
    arrays = [_memory.empty((2, count), np.float32) for _ in range(3)]
    places = [a.ctypes.data - a.base.ctypes.data for a in arrays]
    assert all(a.ctypes.data % 64 == 0 for a in arrays)
    assert len({place // _memory.STEP for place in places}) == 3
    assert all(a.shape == (2, count) and a.dtype == np.float32 for a in arrays)
    assert _memory.empty((3, 4), np.float64).base is None


def test_a_large_gradient_is_not_copied_either():
    x, seen = tensor(np.ones((2048, 1024), np.float32), requires_grad=True), []
    x.register_hook(lambda g: seen.append(g.array.ctypes.data))
    softmax(x, -1).sum().backward()
    assert seen == [x.grad.array.ctypes.data]
    assert x.grad.array.base is not None  # from `empty`, which gave it a place


LOGITS = """
import resource
import numpy as np
from minidl import tensor
from minidl.nn import functional as F
rng = np.random.default_rng(0)
x = tensor(rng.standard_normal((2_000, 16)).astype(np.float32), requires_grad=True)
table = tensor(rng.standard_normal((20_000, 16)).astype(np.float32), requires_grad=True)
target = tensor(rng.integers(0, 20_000, 2_000))
F.linear_cross_entropy(x[:40], table, target[:40]).backward()  # the kernels are loaded
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
before = peak()
F.linear_cross_entropy(x, table, target).backward()
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts as Linux does")
@pytest.mark.skipif(not kernels.ENABLED, reason="a reference has all logits at once")
def test_linear_cross_entropy_does_not_keep_the_logits():
    done = subprocess.run(
        [sys.executable, "-c", LOGITS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 24 << 20  # all logits would be 153 MiB
