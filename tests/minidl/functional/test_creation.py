"""New tensors: values, dtypes and devices as PyTorch's; random numbers from their generator."""

import numpy as np
import pytest

import minidl
from minidl import tensor

FLOATS = ("float32", "float64")


def test_each_call_gives_torchs_values_and_dtype():
    torch = pytest.importorskip("torch")
    calls = [
        lambda m: m.tensor([1, 2]), lambda m: m.tensor([1.0, 2]), lambda m: m.tensor(True),
        lambda m: m.tensor([]), lambda m: m.tensor(3), lambda m: m.tensor([[1, 2], [3, 4.5]]),
        lambda m: m.tensor(np.ones(2)), lambda m: m.tensor([1, 2], dtype=m.float64),
        lambda m: m.tensor([m.tensor(1), m.tensor(2)]), lambda m: m.tensor(np.float64(2.5)),
        lambda m: m.as_tensor([1, 2.5]), lambda m: m.as_tensor(np.ones(2, np.int32)),
        lambda m: m.zeros(2, 3), lambda m: m.zeros((2, 3), dtype=m.int64), lambda m: m.ones([2]),
        lambda m: m.zeros(()), lambda m: m.ones(size=(2, 1)), lambda m: m.full((2,), 7),
        lambda m: m.full((2,), 7.0), lambda m: m.full((), True),
        lambda m: m.full((1,), 3, dtype=m.half),
        lambda m: m.arange(5), lambda m: m.arange(1, 7, 2), lambda m: m.arange(0, 1, 0.25),
        lambda m: m.arange(5.0), lambda m: m.arange(5, 1, -2),
        lambda m: m.arange(3, dtype=m.float64),
        lambda m: m.arange(1, 2.5, 0.5), lambda m: m.arange(0), lambda m: m.arange(0.1, 1.0, 0.3),
        lambda m: m.linspace(0, 1, 5), lambda m: m.linspace(3, -3, 4, dtype=m.float64),
        lambda m: m.linspace(0, 5, 3, dtype=m.int64), lambda m: m.linspace(1, 2, 1),
        lambda m: m.logspace(0, 2, 3), lambda m: m.logspace(0, 3, 4, base=2),
        lambda m: m.eye(3), lambda m: m.eye(2, 3, dtype=m.int64),
        lambda m: m.zeros_like(m.ones(2, dtype=m.int32)), lambda m: m.ones_like(m.zeros(2, 2)),
        lambda m: m.full_like(m.zeros(2), 3), lambda m: m.zeros_like(m.ones(2), dtype=m.bool),
        lambda m: m.zeros(1, dtype=m.float64).new_zeros(2, 3), lambda m: m.zeros(1).new_ones((2,)),
        lambda m: m.zeros(1, dtype=m.int64).new_full((2,), 5),
        lambda m: m.ones(1).new_tensor([1, 2]),
        lambda m: m.tril_indices(3, 4), lambda m: m.triu_indices(3, 4, 1),
        lambda m: m.tril_indices(2, 2, -1), lambda m: m.scalar_tensor(2),
    ]  # fmt: skip
    for number, call in enumerate(calls):
        ours, theirs = call(minidl), call(torch)
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch."), f"call {number}"
        assert ours.shape == tuple(theirs.shape), f"call {number}"
        np.testing.assert_allclose(ours.array, theirs.numpy(), rtol=1e-6, err_msg=f"call {number}")


def test_memory_is_shared_or_copied_as_said():
    array = np.zeros(3, np.float32)
    shared, copied, also = minidl.from_numpy(array), tensor(array), minidl.as_tensor(array)
    shared[0] = 1.0
    also += 1.0
    array[2] = 5.0
    assert array.tolist() == shared.tolist() == also.tolist() == [2, 1, 5]
    assert copied.tolist() == [0, 0, 0]
    x = tensor([1.0])
    assert minidl.as_tensor(x) is x
    with pytest.raises(TypeError, match="ndarray is needed, got list"):
        minidl.from_numpy([1.0])
    with pytest.raises(TypeError, match="complex128"):
        minidl.from_numpy(np.zeros(1, complex))


def test_read_only_memory_says_so():
    array = np.zeros(3)
    array.flags.writeable = False
    x = minidl.from_numpy(array)
    for change in (
        lambda: x.add_(1.0), lambda: x.zero_(), lambda: x.__setitem__(0, 1.0),
        lambda: x.normal_(), lambda: x.exp_(), lambda: x.copy_(x + 1),
        lambda: tensor([1.0]).expand(3).add_(1.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"read-only.*clone\(\)"):
            change()
    assert array.tolist() == [0, 0, 0]


def test_a_gradient_is_asked_for_at_birth():
    for x in (
        tensor([1.0], requires_grad=True), minidl.zeros(2, requires_grad=True),
        minidl.full((2,), 1.0, requires_grad=True), minidl.randn(2, requires_grad=True),
        minidl.arange(2.0, requires_grad=True), minidl.ones_like(tensor([1.0]), requires_grad=True),
    ):  # fmt: skip
        assert x.requires_grad
        assert x.is_leaf
    with pytest.raises(RuntimeError, match="floating point"):
        tensor([1], requires_grad=True)


def test_bad_arguments_are_named():
    for call, error, text in (
        (lambda: minidl.zeros(2, device="cuda"), ValueError, "'cuda' is not there.*'cpu'"),
        (lambda: tensor([[1, 2], [3]]), ValueError, "equal lengths"),
        (lambda: tensor(["a"]), TypeError, "not supported"),
        (lambda: minidl.zeros(-1), RuntimeError, "negative"),
        (lambda: minidl.arange(0, 5, -1), RuntimeError, "no steps of -1"),
        (lambda: minidl.arange(0, 5, 0), RuntimeError, "no steps of 0"),
        (lambda: minidl.zeros(2, dtype="complex64"), TypeError, "complex64"),
        (lambda: minidl.rand(2, dtype=minidl.int64), TypeError, "floating type.*randint"),
        (lambda: minidl.randint(3, 3, (2,)), RuntimeError, "above low"),
        (lambda: minidl.randint(3, 5), TypeError, "randint"),
        (lambda: minidl.rand(2, generator=3), TypeError, "default_rng"),
        (lambda: minidl.normal(0.0, -1.0, (2,)), RuntimeError, "std"),
        (lambda: minidl.bernoulli(tensor([1.5])), RuntimeError, "0 to 1"),
        (lambda: minidl.multinomial(tensor([0.0, 0.0]), 1), RuntimeError, "not all 0"),
        (lambda: minidl.multinomial(tensor([1.0, 0.0]), 2), RuntimeError, "replacement=True"),
        (lambda: tensor([1]).uniform_(), TypeError, "floating"),
    ):
        with pytest.raises(error, match=text):
            call()


@pytest.mark.parametrize("dtype", FLOATS)
def test_draws_follow_their_law_and_their_seed(dtype):
    kind = getattr(minidl, dtype)

    def draws():
        g = np.random.default_rng(3)
        return [
            minidl.rand(40_000, generator=g, dtype=kind),
            minidl.randn(40_000, generator=g, dtype=kind),
            minidl.normal(2.0, 3.0, (40_000,), generator=g, dtype=kind),
            minidl.zeros(40_000, dtype=kind).uniform_(-1, 3, generator=g),
            minidl.zeros(40_000, dtype=kind).normal_(1, 0.5, generator=g),
            minidl.zeros(40_000, dtype=kind).exponential_(2.0, generator=g),
            minidl.zeros(40_000, dtype=kind).bernoulli_(0.3, generator=g),
        ]

    laws = [
        (0.5, 12**-0.5),
        (0, 1),
        (2, 3),
        (1, 4 * 12**-0.5),
        (1, 0.5),
        (0.5, 0.5),
        (0.3, 0.21**0.5),
    ]
    for x, again, (mean, std) in zip(draws(), draws(), laws):
        assert x.dtype == kind
        np.testing.assert_array_equal(x.array, again.array)
        assert x.array.mean() == pytest.approx(mean, abs=4 * std / 200)
        assert x.array.std() == pytest.approx(std, rel=0.03)


def test_the_default_generator_is_seeded_by_manual_seed():
    minidl.manual_seed(5)
    first = [
        minidl.rand(3),
        minidl.randperm(6),
        minidl.randint(0, 9, (4,)),
        minidl.randn_like(tensor([1.0])),
    ]
    minidl.manual_seed(5)
    second = [
        minidl.rand(3),
        minidl.randperm(6),
        minidl.randint(0, 9, (4,)),
        minidl.randn_like(tensor([1.0])),
    ]
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.array, b.array)
    assert sorted(first[1].tolist()) == list(range(6))
    assert first[2].dtype == np.int64


def test_multinomial_follows_its_weights():
    g = np.random.default_rng(0)
    weights = tensor([[0.1, 0.0, 0.4, 0.5], [3.0, 1.0, 0.0, 0.0]])
    drawn = minidl.multinomial(weights, 20_000, replacement=True, generator=g).array
    for row, w in zip(drawn, weights.array):
        share = np.bincount(row, minlength=4) / 20_000
        np.testing.assert_allclose(share, w / w.sum(), atol=0.015)
        assert (share[w == 0] == 0).all()
    # without replacement the first drawn follows the weights, and none comes twice
    first = np.array([minidl.multinomial(weights[0], 3, generator=g).array for _ in range(4_000)])
    assert (np.sort(first, 1) == [0, 2, 3]).all()
    np.testing.assert_allclose(np.bincount(first[:, 0]) / 4_000, [0.1, 0, 0.4, 0.5], atol=0.03)
