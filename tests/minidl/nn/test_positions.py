"""Positions by their formulas: sinusoidal, learned, rotary, ALiBi, relative buckets."""

import math

import numpy as np
import pytest

import minidl.nn.functional as F
from minidl import nn, tensor
from minidl.autograd import gradcheck


def test_sinusoidal_by_the_papers_formula():
    for dim in (6, 5):
        table = F.sinusoidal_positions(9, dim, dtype="float64").numpy()
        for position in (0, 1, 8):
            for i in range(dim):
                angle = position / 10_000 ** (2 * (i // 2) / dim)
                want = math.cos(angle) if i % 2 else math.sin(angle)
                assert abs(table[position, i] - want) < 1e-12
    shifted = F.sinusoidal_positions(4, 6, offset=5).numpy()
    np.testing.assert_array_equal(shifted, F.sinusoidal_positions(9, 6).numpy()[5:])


def test_sinusoidal_and_learned_layers(rng):
    x = tensor(rng.standard_normal((2, 5, 6)).astype(np.float32))
    layer = nn.SinusoidalPositions(6)
    full = layer(x).numpy()
    np.testing.assert_allclose(full - x.numpy(), F.sinusoidal_positions(5, 6).numpy()[None]
                               .repeat(2, 0), atol=1e-6)  # fmt: skip
    np.testing.assert_array_equal(layer(x[:, 3:], offset=3).numpy(), full[:, 3:])
    assert not list(layer.state_dict())
    learned = nn.LearnedPositions(8, 6)
    out = learned(x, offset=2)
    np.testing.assert_array_equal(out.detach().numpy(), x.numpy() + learned.weight.array[2:7])
    out.sum().backward()
    assert learned.weight.grad.numpy()[2:7].all()
    assert not learned.weight.grad.numpy()[7:].any()
    with pytest.raises(ValueError, match="outside max_length 8"):
        learned(x, offset=4)
    with pytest.raises(ValueError, match=r"\(..., T, 6\)"):
        layer(x[..., :3])


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_products_depend_on_the_distance_alone(rng, interleaved):
    layer = nn.RotaryPositions(8, interleaved=interleaved)
    q, k = rng.standard_normal((2, 8))

    def product(m, n):
        turned = [layer(tensor(x[None]), offset=p).numpy()[0] for x, p in ((q, m), (k, n))]
        return turned[0] @ turned[1]

    assert abs(product(0, 0) - q @ k) < 1e-12
    for m, n in ((3, 1), (7, 2), (40, 11)):
        assert abs(product(m, n) - product(m + 13, n + 13)) < 1e-10
        assert abs(product(m, n) - q @ k) > 1e-3


def test_rotary_forms_by_hand(rng):
    x = rng.standard_normal((3, 6))
    cos, sin = F.rotary_tables(3, 4, dtype="float64")
    half = F.apply_rotary(tensor(x), cos, sin).numpy()
    pairs = F.apply_rotary(tensor(x), cos, sin, interleaved=True).numpy()
    for t in range(3):
        for i, angle in enumerate((t, t / 100)):
            turn = np.array([[math.cos(angle), -math.sin(angle)],
                             [math.sin(angle), math.cos(angle)]])  # fmt: skip
            np.testing.assert_allclose(half[t, [i, i + 2]], turn @ x[t, [i, i + 2]], atol=1e-12)
            at = [2 * i, 2 * i + 1]
            np.testing.assert_allclose(pairs[t, at], turn @ x[t, at], atol=1e-12)
    np.testing.assert_array_equal(half[:, 4:], x[:, 4:])  # beyond dim nothing is turned
    given = tensor(x, requires_grad=True)
    assert gradcheck(lambda y: F.apply_rotary(y, cos, sin), (given,))
    with pytest.raises(ValueError, match="even"):
        nn.RotaryPositions(5)
    with pytest.raises(ValueError, match="up to 6"):
        F.apply_rotary(tensor(x), *F.rotary_tables(3, 8))


def test_alibi_of_the_paper():
    np.testing.assert_allclose(F.alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    np.testing.assert_allclose(
        F.alibi_slopes(12),
        [*(2.0**-i for i in range(1, 9)), *(2.0 ** -(i + 0.5) for i in range(4))],
    )
    bias = nn.ALiBi(2)(3).numpy()
    distance = np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    np.testing.assert_allclose(bias, -np.array([2.0**-4, 2.0**-8])[:, None, None] * distance)
    np.testing.assert_array_equal(nn.ALiBi(2)(1, 3, offset=2).numpy(), bias[:, 2:])


def test_relative_buckets_by_hand():
    """T5's own numbers for 32 buckets up to 128: 8 exact ones a direction, then by logarithm."""
    row = F.relative_position_buckets(1, 200)[0]  # keys ahead
    assert row[:8].tolist() == [0, *range(17, 24)]
    for distance, bucket in ((8, 24), (11, 24), (12, 25), (16, 26), (64, 30), (91, 31), (199, 31)):
        assert row[distance] == bucket, distance
    back = F.relative_position_buckets(1, 200, bidirectional=False, offset=199)[0][::-1]
    assert back[:17].tolist() == list(range(17))
    assert back[128] == 31
    assert not F.relative_position_buckets(1, 5, bidirectional=False).any()
    with pytest.raises(ValueError, match="leave no room"):
        nn.RelativePositionBias(2, num_buckets=2)


def test_relative_bias_is_learned(rng):
    layer = nn.RelativePositionBias(3, num_buckets=8, max_distance=10)
    bias = layer(4, 6)
    assert bias.shape == (3, 4, 6)
    np.testing.assert_array_equal(bias[:, 1, 1].detach().numpy(), bias[:, 2, 2].detach().numpy())
    q = tensor(rng.standard_normal((2, 3, 4, 5)).astype(np.float32))
    k = tensor(rng.standard_normal((2, 3, 6, 5)).astype(np.float32))
    (F.scaled_dot_product_attention(q, k, k, bias) ** 2).sum().backward()
    assert layer.weight.grad.numpy().any()
    np.testing.assert_array_equal(layer(1, 6, offset=3).detach().numpy()[:, 0],
                                  bias.detach().numpy()[:, 3])  # fmt: skip
