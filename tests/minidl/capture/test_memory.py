"""A replay takes no memory: buffers are laid out once."""

import gc
import tracemalloc

import numpy as np

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl._capture.memory import _Holes


def training(width=256):
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1), nn.LayerNorm(width), nn.GELU(),
        nn.Linear(width, 8),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @minidl.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    x = minidl.tensor(rng.standard_normal((128, 64)).astype(np.float32))
    return step, x, minidl.tensor(rng.integers(0, 8, 128))


def test_memory_stays_flat_over_replays():
    step, x, y = training()
    for _ in range(5):
        step(x, y)
    tracemalloc.start()
    try:
        for _ in range(120):  # NumPy and Python fill caches of their own first
            step(x, y)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            step(x, y)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert step.replays == 223
    assert after - before < 4_096


def test_gradients_and_results_do_not_pile_up():
    step, x, y = training()
    losses = [step(x, y) for _ in range(6)]
    assert len({id(loss.array) for loss in losses}) == 6
    assert losses[-1].item() < losses[0].item()


def test_elementwise_steps_take_no_arrays():
    """All of a run lies in planned buffers: a replay's peak is a fraction of one array."""
    x = minidl.tensor(np.linspace(-1, 1, 1 << 18, dtype=np.float32).reshape(512, 512))
    x.requires_grad_()

    @minidl.capture
    def step(y):
        x.grad = None
        h = (x * y).tanh()
        h = (h + y) * 0.5 - h.sigmoid()
        loss = (h * h).sum()
        loss.backward()
        return loss

    y = x.detach() + 1
    for _ in range(4):
        step(y)
    tracemalloc.start()
    try:
        step(y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.array.nbytes / 2


def test_attention_of_one_projection_is_not_copied():
    """Its q, k, v lie in one array in the replay too, though a block of all buffers owns it."""
    model = nn.Sequential(nn.Linear(16, 48), nn.LayerNorm(48))

    @minidl.capture
    def step(x):
        qkv = model(x).view(3, 5, 3, 2, 8)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        loss = (out * out).sum()
        loss.backward()
        return loss

    x = minidl.tensor(np.random.default_rng(0).standard_normal((3, 5, 16)).astype(np.float32))
    for _ in range(4):
        model.zero_grad()
        step(x)
    assert step.replays == 2
    assert not step.programs[0].arena.strayed


def test_holes_are_used_again():
    holes = _Holes()
    a, b, c = holes.take(128), holes.take(64), holes.take(128)
    assert (a, b, c, holes.end) == (0, 128, 192, 320)
    holes.free(a, 128)
    holes.free(b, 64)  # one hole of 192
    assert holes.take(192) == 0
    holes.free(c, 128)
    assert holes.take(256) == 192  # the hole at the end grows
    assert holes.end == 448
