"""Normalisation layers against torch's, through training and eval, and by hand."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn

SETTINGS = [
    {}, {"momentum": None}, {"affine": False}, {"track_running_stats": False},
    {"bias": False, "momentum": 0.3}, {"eps": 0.1},
]  # fmt: skip


def both(name, settings):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(**settings).double()
    theirs = getattr(torch.nn, name)(**settings).double()
    for mine, peer in zip(ours.parameters(), theirs.parameters(), strict=True):
        peer.data += torch.randn_like(peer)
        mine.array[...] = peer.detach().numpy()
    return torch, ours, theirs


def same_steps(name, settings, shape, rng, kind=np.float64, rtol=1e-9):
    """Three training steps and one in eval(): outputs, gradients, and the state afterwards."""
    torch, ours, theirs = both(name, settings)
    if kind is np.float32:
        ours, theirs = ours.float(), theirs.float()
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = (5 + 2 * rng.standard_normal(shape)).astype(kind)
        weight = rng.standard_normal(shape).astype(kind)
        a, b = Tensor(x.copy(), True), torch.tensor(x, requires_grad=True)
        out, known = ours(a), theirs(b)
        (out * Tensor(weight)).sum().backward()
        (known * torch.tensor(weight)).sum().backward()
        close = {"rtol": rtol, "atol": rtol}
        np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), **close)
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), **close)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=rtol, atol=50 * rtol)
    state, peer = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(peer)
    for key, value in state.items():
        assert str(value.dtype) == str(peer[key].dtype).split(".")[1]
        np.testing.assert_allclose(value.numpy(), peer[key].numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("name", "shape"), [
    ("BatchNorm1d", (6, 3)), ("BatchNorm1d", (4, 3, 5)), ("BatchNorm2d", (2, 3, 4, 5)),
])  # fmt: skip
def test_batch_norm_as_torch(name, shape, settings, rng):
    same_steps(name, {"num_features": 3, **settings}, shape, rng)


def test_batch_norm_of_large_arrays_as_torch(rng):
    same_steps("BatchNorm2d", {"num_features": 8}, (16, 8, 12, 12), rng, np.float32, 2e-5)
    same_steps("BatchNorm1d", {"num_features": 40}, (256, 40), rng, np.float32, 2e-5)


@pytest.mark.parametrize("settings", [
    {}, {"affine": True}, {"track_running_stats": True, "affine": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize(("name", "shape"), [
    ("InstanceNorm1d", (4, 3, 5)), ("InstanceNorm1d", (3, 5)), ("InstanceNorm2d", (2, 3, 4, 5)),
    ("InstanceNorm2d", (3, 4, 5)),
])  # fmt: skip
def test_instance_norm_as_torch(name, shape, settings, rng):
    same_steps(name, {"num_features": 3, **settings}, shape, rng)


def test_group_and_response_norm_as_torch(rng):
    for groups in (1, 2, 6):
        for shape in ((4, 6), (4, 6, 3), (2, 6, 3, 4)):
            same_steps("GroupNorm", {"num_groups": groups, "num_channels": 6}, shape, rng)
    for size in (1, 2, 3, 9):
        same_steps("LocalResponseNorm", {"size": size, "alpha": 0.3}, (2, 6, 3), rng)


def test_batch_norm_by_hand():
    layer = nn.BatchNorm1d(1)
    out = layer(minidl.tensor([[1.0], [3.0]]))  # mean 2, variance 1, unbiased 2
    np.testing.assert_allclose(out.detach().numpy(), [[-1], [1]], rtol=1e-4)
    assert layer.running_mean.item() == pytest.approx(0.2)
    assert layer.running_var.item() == pytest.approx(0.9 + 0.2)
    assert layer.num_batches_tracked.item() == 1


def test_momentum_none_is_the_mean_of_all_batches(rng):
    layer, means = nn.BatchNorm1d(2, momentum=None), []
    for _ in range(5):
        x = rng.standard_normal((8, 2)).astype(np.float32)
        means.append(x.mean(axis=0))
        layer(Tensor(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), np.mean(means, axis=0), rtol=1e-5)


def test_equal_values_give_zero_not_nan():
    x = Tensor(np.full((4, 3, 2), 1e4, np.float32), True)
    for out in (F.batch_norm(x, None, None, training=True), F.group_norm(x, 3), F.instance_norm(x)):
        assert not out.detach().numpy().any()
        x.grad = None
        out.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()


def test_mean_far_from_zero_costs_no_precision(rng):
    """Mean 1000 times the deviation: a sum of squares less the squared mean would lose 6 digits."""
    x = (1e3 + rng.standard_normal((64, 5, 30))).astype(np.float32)
    want = (x - x.mean((0, 2), np.float64, keepdims=True)) / x.astype(np.float64).std(
        (0, 2), keepdims=True
    )
    out = F.batch_norm(Tensor(x), None, None, training=True, eps=0.0)
    np.testing.assert_allclose(out.numpy(), want, atol=2e-4)


def test_one_value_has_no_variance():
    for call in (
        lambda: nn.BatchNorm1d(3)(minidl.ones(1, 3)),
        lambda: nn.InstanceNorm1d(3)(minidl.ones(2, 3, 1)),
        lambda: F.group_norm(minidl.ones(1, 3), 3),
    ):
        with pytest.raises(ValueError, match="no variance"):
            call()
    assert nn.BatchNorm1d(3).eval()(minidl.ones(1, 3)).shape == (1, 3)


def test_empty_batches():
    for layer, shape in (
        (nn.BatchNorm1d(3), (0, 3)), (nn.BatchNorm2d(3), (0, 3, 2, 2)),
        (nn.GroupNorm(3, 3), (0, 3, 2)), (nn.InstanceNorm1d(3, affine=True), (0, 3, 4)),
        (nn.LocalResponseNorm(2), (0, 3, 4)),
    ):  # fmt: skip
        x = minidl.zeros(shape, requires_grad=True)
        out = layer(x)
        assert out.shape == shape
        out.sum().backward()
        for p in layer.parameters():
            assert not p.grad.numpy().any()
    assert not nn.BatchNorm1d(3).running_mean.numpy().any()


def test_float16_is_computed_in_float32(rng):
    x = (100 + 30 * rng.standard_normal((8, 6, 50))).astype(np.float16)  # squares overflow float16
    for f in (
        lambda t: F.batch_norm(t, None, None, training=True), lambda t: F.group_norm(t, 2),
        F.instance_norm, lambda t: F.layer_norm(t, (50,)), lambda t: F.rms_norm(t, (50,)),
        lambda t: F.local_response_norm(t, 3),
    ):  # fmt: skip
        half, single = f(Tensor(x)), f(Tensor(x.astype(np.float32)))
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half.numpy(), single.numpy().astype(np.float16))


@pytest.mark.parametrize(("call", "text"), [
    (lambda: nn.BatchNorm2d(3)(minidl.ones(2, 3)), r"BatchNorm2d: x must be \(N, C, H, W\)"),
    (lambda: nn.BatchNorm1d(4)(minidl.ones(2, 3)), "num_features is 4"),
    (lambda: F.batch_norm(minidl.ones(2, 3), None, None), "running_mean is needed"),
    (lambda: F.group_norm(minidl.ones(2, 3), 2), "3 channels"),
    (lambda: nn.GroupNorm(2, 3), "multiple of num_groups"),
    (lambda: nn.InstanceNorm1d(4, affine=True)(minidl.ones(2, 3, 5)), "has 3 channels"),
])  # fmt: skip
def test_errors_say_what_was_wrong(call, text):
    with pytest.raises(ValueError, match=text):
        call()
