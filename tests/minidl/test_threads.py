"""Training gives the same bits on one thread and on two."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import kernels
from minidl.ops._product import product

ROOT = Path(__file__).parents[2]

TRAINING = """
import hashlib
import numpy as np
import minidl
from minidl import nn, optim
import minidl.nn.functional as F

minidl.manual_seed(0)
rng = np.random.default_rng(0)
model = nn.Sequential(
    nn.Embedding(501, 96), nn.Linear(96, 411), nn.GELU(), nn.LayerNorm(411), nn.Dropout(0.3),
    nn.Linear(411, 501),
)
if {double}:
    model.double()
optimizer = optim.AdamW(model.parameters(), lr=1e-3)
for step in range(4):
    ids, targets = rng.integers(0, 501, (2, 73, 29))
    logits = model(minidl.tensor(ids))
    loss = F.cross_entropy(logits.reshape(-1, 501), minidl.tensor(targets.reshape(-1)))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
state = hashlib.sha256()
for name, value in model.state_dict().items():
    state.update(name.encode() + value.numpy().tobytes())
print(state.hexdigest())
"""


def trained(threads, double):
    env = {**os.environ, "MINIDL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING.format(double=double)], cwd=ROOT, env=env,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_training_has_the_same_bits_on_one_and_two_threads(double):
    assert trained(1, double) == trained(2, double)


SHAPES = [
    (513, 1027, 255), (3, 1522, 294), (1774, 684, 2), (160, 1136, 55), (2, 670, 1484),
    (64, 6401, 32), (379, 7306, 1), (1, 3751, 303), (40, 100, 70),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_does_not_depend_on_threads(shape, dtype, rng):
    n, d, m = shape
    x, y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((m, d)).astype(dtype)
    before, results = kernels.get_num_threads(), []
    try:
        for threads in (1, 2):
            kernels.set_num_threads(threads)
            results.append([product(x, y.T), product(np.asfortranarray(x), y.T.copy())])
    finally:
        kernels.set_num_threads(before)
    for one, two in zip(*results):
        assert one.tobytes() == two.tobytes()
        np.testing.assert_allclose(one, x.astype(float) @ y.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("view", ["whole", "transposed", "cut", "every second", "backwards"])
def test_a_product_takes_arrays_of_any_strides(view, dtype):
    rng = np.random.default_rng(0)

    def operand(*shape):
        *lead, n, m = shape
        if view == "transposed":
            return rng.standard_normal((*lead, m, n)).astype(dtype).swapaxes(-1, -2)
        if view == "cut":
            return rng.standard_normal((*lead, n + 3, m + 5)).astype(dtype)[..., 1:-2, 2:-3]
        whole = rng.standard_normal((*lead, 2 * n, 2 * m)).astype(dtype)
        if view == "every second":
            return whole[..., ::2, ::2]
        part = whole[..., :n, :m]
        return part[..., ::-1, :] if view == "backwards" else part.copy()

    for x, y in [
        (operand(90, 80), operand(80, 70)),
        (operand(1, 400), operand(400, 700)),
        (operand(3, 90, 80), operand(3, 80, 70)),
        (operand(2, 1, 90, 80), operand(3, 80, 70)),
        (operand(3, 90, 80), operand(80, 70)),
    ]:
        exact = x.astype(np.float64) @ y.astype(np.float64)
        tolerance = 1e-4 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(product(x, y), exact, rtol=0, atol=tolerance)
        out = np.full((*exact.shape[:-1], 2 * exact.shape[-1]), np.nan, dtype)[..., ::2]
        assert product(x, y, out) is out
        np.testing.assert_allclose(out, exact, rtol=0, atol=tolerance)
