"""Dropout: what is dropped together, with what probability, and what stays of mean and variance."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (nn.Dropout1d, (40, 50, 3), 1), (nn.Dropout1d, (50, 3), 1),
        (nn.Dropout2d, (40, 50, 2, 3), 2), (nn.Dropout2d, (50, 2, 3), 2),
        (nn.Dropout3d, (40, 50, 2, 1, 2), 3),
    ],
)  # fmt: skip
def test_whole_channels_are_dropped(layer, shape, axes):
    minidl.manual_seed(0)
    x = minidl.ones(shape, requires_grad=True)
    out = layer(0.25)(x)
    values = out.detach().numpy().reshape(*shape[:-axes], -1)
    assert set(np.unique(values)) == {0, np.float32(4 / 3)}
    assert (values == values[..., :1]).all()  # all of a channel or nothing
    assert abs((values[..., 0] == 0).mean() - 0.25) < (0.04 if values.size > 1000 else 0.2)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.detach().numpy())
    assert layer().eval()(x) is x


@pytest.mark.parametrize("layer", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_keeps_mean_and_variance(layer, rng):
    minidl.manual_seed(1)
    x = minidl.tensor(rng.standard_normal((400, 500)), requires_grad=True)
    out = layer(0.3)(x)
    assert abs(out.mean().item()) < 0.02
    assert abs(out.var().item() - 1) < 0.02
    out.sum().backward()
    kept = x.grad.numpy() != 0
    assert abs(kept.mean() - 0.7) < 0.01
    p, floor = 0.3, -1.7580993408473766
    a = (0.7 * (1 + p * floor**2)) ** -0.5
    want = np.where(kept, a * x.detach().numpy(), a * floor) - a * p * floor
    np.testing.assert_allclose(out.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    assert layer().eval()(x) is x


def test_p_of_one_gives_zeros():
    x = minidl.ones(3, 4, 5)
    for f in (F.dropout1d, F.alpha_dropout, F.feature_alpha_dropout):
        assert not f(x, 1.0, True).numpy().any()


def test_feature_alpha_dropout_drops_channels():
    out = F.feature_alpha_dropout(minidl.ones(30, 20, 4), 0.5, True).numpy()
    assert (out == out[..., :1]).all()
    assert len(np.unique(out)) == 2


def test_errors_say_what_was_wrong():
    with pytest.raises(ValueError, match=r"dropout2d: x must have 3 axes.*\(2, 3\)"):
        F.dropout2d(minidl.ones(2, 3))
    with pytest.raises(ValueError, match=r"p must be from 0 to 1, got 1\.5"):
        nn.Dropout1d(1.5)
    with pytest.raises(TypeError, match=r"\.float\(\)"):
        F.alpha_dropout(minidl.ones(2, 3).long())


def test_softmax2d_and_rrelu(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, 4, 5))
    for theirs, ours in ((torch.nn.Softmax2d(), nn.Softmax2d()), (torch.nn.RReLU(), nn.RReLU())):
        known = theirs.eval()(torch.tensor(x)).numpy()
        np.testing.assert_allclose(ours.eval()(minidl.tensor(x)).numpy(), known, rtol=1e-6)
