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


def test_a_product_leaves_blas_as_it_was():
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    product(np.ones((200, 300)), np.ones((300, 100)))
    assert threads() == before
