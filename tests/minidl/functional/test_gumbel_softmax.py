"""gumbel_softmax: what it draws, how often, and its gradient."""

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F


def test_draws_fall_as_softmax_says():
    shares = np.array([0.5, 0.3, 0.2], "f4")
    logits = minidl.tensor(np.tile(np.log(shares), (20_000, 1)))
    draws = F.gumbel_softmax(logits, hard=True, generator=np.random.default_rng(0))
    assert set(np.unique(draws.numpy())) == {0.0, 1.0}
    assert (draws.sum(1) == 1).all()
    assert np.abs(draws.mean(0).numpy() - shares).max() < 0.011  # 3 standard errors


def test_hard_draws_have_the_gradient_of_soft_ones():
    grads, outs = [], []
    weight = minidl.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
    for hard in (False, True):
        logits = minidl.tensor([[0.1, 0.7, -0.3], [2.0, 0.0, 1.0]], requires_grad=True)
        out = F.gumbel_softmax(logits, 0.7, hard, 0, generator=np.random.default_rng(1))
        (out * weight).sum().backward()
        grads.append(logits.grad.numpy())
        outs.append(out.detach().numpy())
    assert np.allclose(grads[0], grads[1])
    assert np.abs(grads[0]).max() > 0
    assert np.allclose(outs[0].sum(0), 1)
    assert np.array_equal(outs[0].argmax(0), outs[1].argmax(0))


def test_settings():
    assert F.gumbel_softmax(minidl.zeros(2, 3, dtype=minidl.float64)).dtype == np.float64
    with pytest.raises(ValueError, match="tau must be greater than 0, got 0"):
        F.gumbel_softmax(minidl.zeros(3), tau=0)
    minidl.manual_seed(3)
    first = F.gumbel_softmax(minidl.zeros(5))
    minidl.manual_seed(3)
    assert np.array_equal(first.numpy(), F.gumbel_softmax(minidl.zeros(5)).numpy())
