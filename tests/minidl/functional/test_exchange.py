"""Memory shared with NumPy and torch; limits; generators; views in place; scatter_reduce."""

import copy

import numpy as np
import pytest

import minidl
from tests.oracles.torch_twin import compare


def test_dlpack_shares_memory_with_numpy():
    x = minidl.arange(6.0).reshape(2, 3)
    array = np.from_dlpack(x)
    array = array if array.flags.writeable else np.asarray(x)
    array[0, 0] = 9
    assert x[0, 0].item() == 9
    back = minidl.from_dlpack(array)
    back[1, 2] = 7
    assert x[1, 2].item() == 7
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(minidl.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="from_dlpack: an object with __dlpack__"):
        minidl.from_dlpack([1, 2])


def test_dlpack_shares_memory_with_torch():
    torch = pytest.importorskip("torch")
    x = minidl.arange(6.0).reshape(2, 3)
    theirs = torch.from_dlpack(x)
    theirs[0, 1] = -1
    assert x[0, 1].item() == -1
    ours = minidl.from_dlpack(theirs)
    ours[1, 0] = -2
    assert theirs[1, 0].item() == -2
    for dtype in (torch.int64, torch.float16, torch.bool, torch.uint8):
        known = torch.ones(3, dtype=dtype)
        assert str(minidl.from_dlpack(known).dtype) == str(dtype).split(".")[1]


def test_limits_and_dtypes():
    assert minidl.finfo(minidl.float32).max == float(np.finfo(np.float32).max)
    assert minidl.finfo().eps == 2**-23
    assert (minidl.iinfo(minidl.int8).min, minidl.iinfo("int64").bits) == (-128, 64)
    assert minidl.promote_types(minidl.int64, minidl.float16) == minidl.float16
    assert minidl.result_type(minidl.ones(2), 1.5) == minidl.float32
    assert isinstance(minidl.float32, minidl.dtype)
    assert minidl.float32 == np.float32
    assert isinstance(minidl.ones(2).shape, minidl.Size)


def test_generator():
    first, second = minidl.Generator().manual_seed(3), minidl.Generator()
    second.manual_seed(3)
    assert minidl.rand(4, generator=first).tolist() == minidl.rand(4, generator=second).tolist()
    state = first.get_state()
    draws = minidl.randn(3, generator=first).tolist()
    first.set_state(state)
    assert minidl.randn(3, generator=first).tolist() == draws
    assert first.initial_seed() == 3
    assert first.seed() == first.initial_seed()
    assert minidl.manual_seed(5) is minidl.default_generator
    assert minidl.initial_seed() == 5
    data = minidl.utils.data.TensorDataset(minidl.arange(8))
    loader = minidl.utils.data.DataLoader(data, 4, shuffle=True, generator=first)
    assert sorted(i for (batch,) in loader for i in batch.tolist()) == list(range(8))
    assert copy.deepcopy(first).random() == first.random()
    with pytest.raises(ValueError, match="cpu"):
        minidl.Generator("cuda")


def test_views_in_place(rng):
    x = minidl.tensor(rng.standard_normal((2, 3)), requires_grad=True)
    y = x * 2
    y.unsqueeze_(0).transpose_(1, 2).squeeze_(0).t_()
    assert y.shape == (2, 3)
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * x.detach().numpy())
    z = minidl.zeros(2, 3)
    storage = z.array
    z.t_()[0, 1] = 5
    assert storage[1, 0] == 5
    with pytest.raises(RuntimeError, match="unsqueeze_: a leaf"):
        x.unsqueeze_(0)
    with minidl.no_grad():
        assert x.unsqueeze_(0).shape == (1, 2, 3)


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_as_torch(reduce, include_self, rng):
    x, src = rng.standard_normal((4, 5)), rng.standard_normal((3, 4))
    src[0], src[1] = src[1].copy(), src[1].copy()  # equal values meet
    index = np.array([[0, 1, 2, 2], [0, 1, 1, 2], [0, 3, 3, 3]])
    for dim in (0, 1):
        compare(
            "scatter_reduce", x, dim, index, src, reduce, include_self=include_self, order=1
        )
    whole = np.arange(20).reshape(4, 5)
    compare(
        "scatter_reduce", whole, 0, index, whole[:3, :4], reduce, include_self=include_self,
        order=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="'median' is not known"):
        minidl.ones(2).scatter_reduce(0, minidl.tensor([0]), minidl.ones(1), "median")
