"""nn.init: the distributions' statistics, and what each rule promises."""

import math

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn
from minidl.nn import init


def empty(*shape, dtype=np.float32):
    return Tensor(np.full(shape, np.nan, dtype))


def filled(name, *args, shape=(400, 300), **kwargs):
    kwargs.setdefault("generator", np.random.default_rng(0))
    return getattr(init, name)(empty(*shape), *args, **kwargs).numpy()


def test_uniform_and_normal():
    u = filled("uniform_", -1, 3)
    assert -1 <= u.min() < -0.99
    assert 2.99 < u.max() < 3
    assert u.mean() == pytest.approx(1, abs=0.02)
    assert u.std() == pytest.approx(4 / math.sqrt(12), rel=0.01)
    n = filled("normal_", 2, 0.5)
    assert n.mean() == pytest.approx(2, abs=0.01)
    assert n.std() == pytest.approx(0.5, rel=0.01)
    assert ((n - n.mean()) ** 4).mean() / n.std() ** 4 == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("limits", [(-2, 2), (-0.5, 1), (3, 4), (-0.001, 0.001), (-9, -4)])
def test_trunc_normal(limits):
    t = filled("trunc_normal_", 0, 1, *limits)
    assert limits[0] <= t.min() < t.max() <= limits[1]
    points = np.linspace(*limits, 20_001)
    density = np.exp(-(points**2) / 2)
    mean = (points * density).sum() / density.sum()
    width = limits[1] - limits[0]
    assert t.mean() == pytest.approx(mean, abs=0.01 * width)


@pytest.mark.parametrize("shape", [(400, 300), (40, 30, 3, 3)])
def test_xavier_and_kaiming(shape):
    positions = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * positions, shape[0] * positions
    expected = {
        "xavier_uniform_": (math.sqrt(2 / (fan_in + fan_out)), math.sqrt(6 / (fan_in + fan_out))),
        "xavier_normal_": (math.sqrt(2 / (fan_in + fan_out)), None),
        "kaiming_uniform_": (math.sqrt(2 / fan_in), math.sqrt(6 / fan_in)),
        "kaiming_normal_": (math.sqrt(2 / fan_in), None),
    }
    for name, (std, bound) in expected.items():
        values = filled(name, shape=shape)
        assert values.std() == pytest.approx(std, rel=0.03), name
        if bound is not None:
            assert np.abs(values).max() == pytest.approx(bound, rel=0.01), name
    values = filled("kaiming_normal_", 0.5, "fan_out", shape=shape)
    assert values.std() == pytest.approx(math.sqrt(2 / 1.25 / fan_out), rel=0.03)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 3, 2, 2)])
def test_orthogonal(shape):
    w = filled("orthogonal_", 2.0, shape=shape).reshape(shape[0], -1).astype(np.float64)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_constants():
    assert init.constant_(empty(2, 2), 3.5).numpy().tolist() == [[3.5, 3.5], [3.5, 3.5]]
    assert init.ones_(empty(2)).numpy().tolist() == [1, 1]
    assert init.zeros_(empty(2)).numpy().tolist() == [0, 0]
    np.testing.assert_array_equal(init.eye_(empty(2, 3)).numpy(), np.eye(2, 3))
    sparse = filled("sparse_", 0.25, shape=(8, 50))
    assert ((sparse == 0).sum(axis=0) == 2).all()
    x = np.random.default_rng(0).standard_normal((1, 3, 5))
    kernel = init.dirac_(empty(3, 3, 3)).numpy()
    passed = sum(np.einsum("oc,bcl->bol", kernel[:, :, k], x[:, :, k : k + 3]) for k in range(3))
    np.testing.assert_allclose(passed, x[:, :, 1:4])


def test_gain_is_torchs():
    known = [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None)]
    known += [("leaky_relu", None), ("leaky_relu", 0.3), ("selu", None)]
    torch = pytest.importorskip("torch")
    for name, slope in known:
        ours, theirs = init.calculate_gain(name, slope), torch.nn.init.calculate_gain(name, slope)
        assert ours == pytest.approx(theirs)


def test_generator_and_seed():
    one, two = (filled("normal_", generator=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    minidl.manual_seed(3)
    first = nn.Linear(4, 4).weight.detach().numpy()
    minidl.manual_seed(3)
    np.testing.assert_array_equal(first, nn.Linear(4, 4).weight.detach().numpy())
    assert init.normal_(empty(3, dtype=np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.Linear(300, 400),
        lambda n: n.Bilinear(30, 20, 200),
        lambda n: n.Embedding(400, 300),
        lambda n: n.LayerNorm((4, 5)),
        lambda n: n.RMSNorm(7),
        lambda n: n.PReLU(5),
    ],
)
def test_layers_start_as_torchs(make):
    torch = pytest.importorskip("torch")
    minidl.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = make(nn).state_dict(), make(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        a, b = value.numpy(), theirs[key].numpy()
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert a.std() == pytest.approx(b.std(), rel=0.15), key
        assert a.mean() == pytest.approx(b.mean(), abs=float(0.2 * b.std() + 1e-9)), key
        assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.2), key


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: init.xavier_uniform_(empty(3)), "at least 2 axes"),
        (lambda: init.eye_(empty(3)), "a matrix is needed"),
        (lambda: init.orthogonal_(empty(3)), "at least 2 axes"),
        (lambda: init.kaiming_normal_(empty(3, 3), mode="fan"), "'fan_in' or 'fan_out'"),
        (lambda: init.calculate_gain("gelu"), "unknown nonlinearity 'gelu'"),
        (lambda: init.trunc_normal_(empty(3), a=2, b=1), "a must lie below b"),
        (lambda: init.dirac_(empty(3, 3)), "1 to 3 sizes"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
