"""float16 is a way to store: sums, products, norms and losses are computed in float32.

Each result must be what float64 gives from the same float16 numbers, rounded: within 1e-3 of the
largest element, torch's own tolerance for float16 being 1e-3 of each.
"""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl.ops._product import product

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((40, 300)), RNG.standard_normal((300, 20))
LARGE = RNG.standard_normal((60, 2000)) * 30  # squares and sums end above 65504
Y, CLASSES = RNG.random((40, 300)), RNG.integers(0, 300, 40)
IMAGE, KERNEL = RNG.standard_normal((3, 8, 9, 10)), RNG.standard_normal((8, 8, 3, 3))
LONG = RNG.standard_normal(100_000)  # more elements than float16 can count

CASES = {
    "matmul": (lambda x, w: x @ w, A, B),
    "bmm": (lambda x, w: x @ w, A.reshape(2, 20, 300), B),
    "linear": (F.linear, A, B.T.copy()),
    "sum": (lambda x: x.sum(), A),
    "sum of rows": (lambda x: x.sum(0), LARGE),
    "mean": (lambda x: x.mean(1), LARGE * 50),
    "mean of many": (lambda x: x.mean(), LONG),
    "var": (lambda x: x.var(1), LARGE),
    "std": (lambda x: x.std(), LARGE),
    "norm": (lambda x: x.norm(), LARGE),
    "logsumexp": (lambda x: x.logsumexp(1), LARGE),
    "softmax": (lambda x: x.softmax(-1), LARGE),
    "log_softmax": (lambda x: x.log_softmax(0), LARGE),
    "cross_entropy": (lambda x: F.cross_entropy(x, minidl.tensor(CLASSES)), A * 10),
    "bce": (F.binary_cross_entropy_with_logits, A * 10, Y),
    "mse": (F.mse_loss, A * 200, Y),
    "smooth_l1": (F.smooth_l1_loss, A * 100, Y),
    "layer_norm": (lambda x: F.layer_norm(x, (2000,)), LARGE),
    "rms_norm": (lambda x: F.rms_norm(x, (2000,)), LARGE),
    "group_norm": (lambda x: F.group_norm(x, 4), LARGE.reshape(2, 8, -1)),
    "normalize": (F.normalize, LARGE),
    "conv1d": (F.conv1d, IMAGE[:, :, 0], KERNEL[:, :, 0]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), IMAGE, KERNEL, IMAGE[0, :8, 0, 0]),
    "conv2d of groups": (lambda x, w: F.conv2d(x, w, groups=2), IMAGE, KERNEL[:, :4]),
    "conv2d depthwise": (lambda x, w: F.conv2d(x, w, groups=8), IMAGE, KERNEL[:, :1]),
    "conv2d of points": (lambda x, w: F.conv2d(x, w), IMAGE, KERNEL[:, :, :1, :1]),
    "conv2d of the whole": (lambda x, w: F.conv2d(x, w), IMAGE[:, :, :3, :3], KERNEL),
    "conv_transpose1d": (F.conv_transpose1d, IMAGE[:, :, 0], KERNEL[:, :, 0]),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2), IMAGE, KERNEL),
    "unfold": (lambda x: F.unfold(x, 3), IMAGE),
    "fold": (lambda x: F.fold(x, (5, 5), 3), KERNEL.reshape(8, 72, 1).repeat(9, 2)),
    "gelu": (F.gelu, A),
    "silu": (F.silu, A),
    "sigmoid": (lambda x: x.sigmoid(), A),
    "tanh": (lambda x: x.tanh(), A),
    "broadcast": (lambda x, y: x * y, A, A[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_computed_in_float32(name):
    function, *arrays = CASES[name]
    results = []
    for dtype in (np.float16, np.float64):
        tensors = [
            minidl.tensor(a.astype(np.float16).astype(dtype), requires_grad=True) for a in arrays
        ]
        out = function(*tensors)
        weight = np.random.default_rng(1).standard_normal(out.shape).astype(np.float16)
        out.backward(minidl.tensor(np.asarray(weight, dtype)))
        results.append([out, *(t.grad for t in tensors)])
    for i, (half, exact) in enumerate(zip(*results)):
        assert half.dtype == minidl.float16
        exact = exact.detach().numpy()
        error = np.abs(half.detach().numpy().astype(np.float64) - exact).max()
        assert error <= 1e-3 * np.abs(exact).max() + 6e-8, (i, error, np.abs(exact).max())


@pytest.mark.parametrize("dims", [1, 2])
def test_a_product_of_halves_fills_the_array_it_is_given(dims):
    x, y = (a.astype(np.float16) for a in (A, B if dims == 2 else B[:, 0]))
    out = np.full(A.shape[:1] + y.shape[1:], np.nan, np.float16)
    assert product(x, y, out=out) is out
    np.testing.assert_array_equal(out, product(x, y))


def test_what_does_not_fit_is_infinite_without_a_warning():
    x = minidl.tensor([1e5, -1e5, np.nan, 1.0])
    np.testing.assert_array_equal(x.half().numpy(), np.array([np.inf, -np.inf, np.nan, 1]))
    assert minidl.full((300, 300), 2.0, dtype=minidl.float16).sum().item() == np.inf
    assert (minidl.full((9, 9), 200.0).half() @ minidl.full((9, 9), 200.0).half()).max() == np.inf
    assert x.half().double().dtype == minidl.float64


def test_a_model_in_half_trains():
    minidl.manual_seed(0)
    model = minidl.nn.Sequential(
        minidl.nn.Linear(8, 32), minidl.nn.LayerNorm(32), minidl.nn.ReLU(), minidl.nn.Linear(32, 3)
    ).half()
    optimizer = minidl.optim.SGD(model.parameters(), lr=0.1)
    x = minidl.randn(64, 8).half()
    y = x[:, :3].argmax(1)
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert {p.dtype for p in model.parameters()} == {minidl.float16}
