"""Shapes and what a tensor says of itself; which results are views; errors that name the shapes."""

import copy

import numpy as np
import pytest

import minidl
from minidl import tensor


def numbers(*shape, **kwargs):
    return tensor(np.arange(np.prod(shape), dtype=np.float64).reshape(shape), **kwargs)


VIEWS = {
    "reshape": lambda x: x.reshape(4, 6),
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, -1)),
    "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "transpose": lambda x: x.transpose(0, 2),
    "T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, 2),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "select": lambda x: x.select(1, 2),
    "one element": lambda x: x[1, 2, 3],
    "chunk": lambda x: x.chunk(2, 2)[1],
    "split": lambda x: x.split([1, 2], 1)[1],
    "tensor_split": lambda x: x.tensor_split(2)[0],
    "unbind": lambda x: x.unbind(1)[0],
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "slice": lambda x: x[..., ::2],
    "detach": lambda x: x.detach(),
    "a view of a view": lambda x: x.permute(2, 0, 1)[1:].diagonal(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_memory_and_version(name):
    x = numbers(2, 3, 4)
    v = VIEWS[name](x)
    assert np.shares_memory(v.array, x.array)
    before = x._version
    v.add_(100.0)
    assert x._version == before + 1 == v._version
    assert (x.array >= 100).sum() == v.numel()


@pytest.mark.parametrize("name", sorted(set(VIEWS) - {"detach"}))
def test_a_change_through_a_view_is_on_the_tape(name):
    x = numbers(2, 3, 4, requires_grad=True)
    y = x * 1.0
    v = VIEWS[name](y)
    v.mul_(3.0)
    (y * y).sum().backward()
    seen = np.isin(np.arange(24), VIEWS[name](numbers(2, 3, 4)).array).reshape(2, 3, 4)
    np.testing.assert_allclose(x.grad.array, np.where(seen, 18.0, 2.0) * x.array)


COPIES = {
    "clone": lambda x: x.clone(),
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll(1, 0),
    "roll by nothing": lambda x: x.roll(0, 0),
    "rot90": lambda x: x.rot90(4),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "cat of one": lambda x: minidl.cat([x]),
    "tril": lambda x: x.tril(),
    "mask": lambda x: x[x > -1],
    "index": lambda x: x[tensor([0, 1])],
    "diag": lambda x: x[0, :, :3].diag(),
    "to, copied": lambda x: x.to("cpu", copy=True),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_shares_nothing(name):
    x = numbers(2, 3, 4)
    assert not np.shares_memory(COPIES[name](x).array, x.array)


def test_unfold_is_a_view_that_sees_changes():
    x = numbers(6, requires_grad=True)
    y = x * 1.0
    windows = y.unfold(0, 3, 1)
    y.mul_(2.0)
    assert windows[1].tolist() == [2, 4, 6]
    windows.sum().backward()
    assert x.grad.tolist() == [2, 4, 6, 6, 4, 2]


@pytest.mark.filterwarnings("ignore:The reduce argument")
def test_functions_that_torch_has_no_samples_of_here():
    torch = pytest.importorskip("torch")
    a, v = np.arange(24.0).reshape(2, 3, 4), np.arange(3.0)
    calls = [
        lambda m, x, y: m.moveaxis(x, (0, 1), (2, 0)), lambda m, x, y: x.swapdims(0, 1),
        lambda m, x, y: x.reshape_as(m.zeros(4, 6)), lambda m, x, y: x.view_as(m.zeros(24)),
        lambda m, x, y: x.fliplr(), lambda m, x, y: x.flipud(), lambda m, x, y: m.dstack([x, x]),
        lambda m, x, y: m.concat([x, x], 1), lambda m, x, y: m.concatenate([x, x], axis=2),
        lambda m, x, y: m.column_stack([y, y]), lambda m, x, y: m.row_stack([y, y]),
        lambda m, x, y: m.atleast_2d(y), lambda m, x, y: m.atleast_3d(y),
        lambda m, x, y: m.diagflat(y, 1), lambda m, x, y: m.broadcast_tensors(x, y[:, None])[1],
        lambda m, x, y: m.tensor_split(x, 3, 2)[0], lambda m, x, y: m.tensor_split(x, (1, 3), 2)[1],
        lambda m, x, y: m.hsplit(x, 3)[1], lambda m, x, y: m.vsplit(x, 2)[1],
        lambda m, x, y: m.dsplit(x, (1,))[1], lambda m, x, y: m.meshgrid(y, y, indexing="xy")[0],
        lambda m, x, y: m.argwhere(x > 20), lambda m, x, y: x.nonzero(as_tuple=True)[1],
        lambda m, x, y: m.nonzero(m.tensor(3.0)), lambda m, x, y: m.where(y > 0)[0],
        lambda m, x, y: x.index_copy(1, m.tensor([2, 0]), x[:, :2] * 2),
        lambda m, x, y: m.index_put(x, (m.tensor([0, 1]), m.tensor([1, 1])), y[:1]),
        lambda m, x, y: x.clone().index_put_((m.tensor([1, 1]),), y[0] + 1, accumulate=True),
        lambda m, x, y: x.masked_scatter(x > 20, y),
        lambda m, x, y: x.clone().put_(m.tensor([1, -1]), y[:2]),
        lambda m, x, y: m.put(x, m.tensor([1, 1]), y[1:], accumulate=True) if m is minidl
        else x.put(m.tensor([1, 1]), y[1:], accumulate=True),
        lambda m, x, y: y.scatter(0, m.tensor([0, 0, 2]), y + 2, reduce="multiply"),
        lambda m, x, y: m.repeat_interleave(m.tensor([2, 0, 1])), lambda m, x, y: x.tile(2, 1),
        lambda m, x, y: m.cat([m.tensor([1]), m.tensor([1.5])]),
        lambda m, x, y: m.stack([y, y], -1),
        lambda m, x, y: m.cat([x, m.zeros(0)], 1), lambda m, x, y: x.view(m.int64),
        lambda m, x, y: x.permute(dims=(2, 1, 0)), lambda m, x, y: m.flip(x, dims=(1,)),
    ]  # fmt: skip
    for number, call in enumerate(calls):
        ours = call(minidl, tensor(a), tensor(v))
        theirs = call(torch, torch.tensor(a), torch.tensor(v))
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch."), f"call {number}"
        np.testing.assert_array_equal(ours.array, theirs.numpy(), err_msg=f"call {number}")


def test_parts_that_are_not_used_have_no_gradient_and_the_others_theirs():
    x = numbers(4, 3, requires_grad=True)
    first, _, last = x.unbind(1)
    (first * last).sum().backward()
    np.testing.assert_array_equal(x.grad.array[:, 0], x.array[:, 2])
    np.testing.assert_array_equal(x.grad.array[:, 1], 0 * x.array[:, 1])
    y = x * 1.0
    parts = y.split(1)
    parts[1].mul_(10.0)  # the other parts, and the whole, see it
    (parts[1].sum() + y.sum() + parts[0].sum()).backward()
    np.testing.assert_array_equal(x.grad.array[:, 1], [2, 20, 1, 1])


def test_what_a_tensor_says_of_itself():
    x = minidl.zeros(2, 3, 4)
    assert x.size() == (2, 3, 4)
    assert x.size(-1) == 4
    assert x.dim() == x.ndimension() == x.ndim == 3
    assert x.numel() == x.nelement() == minidl.numel(x) == 24
    assert (x.element_size(), x.itemsize, x.nbytes) == (4, 4, 96)
    assert x.stride() == (12, 4, 1)
    assert x.transpose(0, 2).stride(0) == 1
    assert x[1, 1:].storage_offset() == 16
    assert x.is_contiguous()
    assert not x.mT.is_contiguous()
    assert x.mT.contiguous().is_contiguous()
    assert x.contiguous() is x
    assert x.is_floating_point()
    assert not tensor([1]).is_floating_point()
    assert minidl.is_tensor(x)
    assert not minidl.is_tensor(x.array)
    assert x.device == "cpu"
    assert x.device == minidl.device("cpu")
    assert (str(x.device), repr(x.device), x.device.type) == ("cpu", "device(type='cpu')", "cpu")
    assert x.cpu() is x
    with pytest.raises(ValueError, match="'cuda' is not there"):
        minidl.device("cuda")


def test_conversions_keep_the_tape():
    x = tensor([1.5, -2.5], requires_grad=True)
    assert x.to(minidl.float32) is x is x.float() is x.to("cpu") is x.to(x)
    assert x.long().tolist() == [1, -2]
    assert [x.double().dtype, x.half().dtype, x.int().dtype, x.bool().dtype] == [
        np.float64, np.float16, np.int32, np.bool_,
    ]  # fmt: skip
    assert x.type() == "minidl.FloatTensor"
    assert x.type(minidl.float64).dtype == x.type_as(tensor(np.zeros(1))).dtype == np.float64
    assert x.to("cpu", minidl.float64).dtype == x.to(dtype=minidl.float64).dtype == np.float64
    (x.double() * 2.0).sum().backward()
    assert x.grad.dtype == np.float32
    with pytest.raises(ValueError, match="'cuda' is not there"):
        x.to("cuda")


def test_deep_copies_of_leaves():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    y.data.fill_(7.0)
    assert y.requires_grad
    assert y.grad.tolist() == [2, 4]
    assert x.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match=r"detach\(\)"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x.reshape(5, 5), RuntimeError, r"shape \(5, 5\) .* \(2, 3, 4\) with 24"),
        (lambda x: x.reshape(-1, -1), RuntimeError, "invalid"),
        (lambda x: x.reshape(-2, -12), RuntimeError, "invalid"),
        (lambda x: x.mT.view(-1), RuntimeError, r"reshape\(\)"),
        (lambda x: x.view(minidl.float32), RuntimeError, "width"),
        (lambda x: x.transpose(0, 3), IndexError, "dim 3 is out of range"),
        (lambda x: x.permute(0, 1), RuntimeError, "each of the 3 axes"),
        (lambda x: x.permute(0, 0, 1), RuntimeError, "once"),
        (lambda x: x.movedim((0, 1), 0), RuntimeError, "as many"),
        (lambda x: x.t(), RuntimeError, r"\.mT"),
        (lambda x: x.flatten(2, 1), RuntimeError, "comes after"),
        (lambda x: x.unflatten(0, (3, 2)), RuntimeError, "multiply"),
        (lambda x: x.expand(3, 3, 4), RuntimeError, "does not broadcast"),
        (lambda x: x.expand(4), RuntimeError, "does not broadcast"),
        (lambda x: x.expand(-1, 2, 3, 4), RuntimeError, "does not broadcast"),
        (lambda x: x.repeat(2), RuntimeError, "each of the 3 axes"),
        (lambda x: x.flip(0, 0), RuntimeError, "twice"),
        (lambda x: x.split(0), RuntimeError, "above 0"),
        (lambda x: x.split([1, 2]), RuntimeError, "add up to 2"),
        (lambda x: x.chunk(0), RuntimeError, "above 0"),
        (lambda x: x[0, 0, 0].split(1), RuntimeError, "0-d"),
        (lambda x: minidl.cat([x, x[0]]), RuntimeError, "tensor 1 has shape"),
        (lambda x: minidl.cat([]), ValueError, "at least one"),
        (lambda x: minidl.cat([x[0, 0, 0]]), RuntimeError, r"stack\(\)"),
        (lambda x: minidl.stack([x, x[:1]]), RuntimeError, "tensor 1 has"),
        (lambda x: x.roll((1, 2), 0), RuntimeError, "as many"),
        (lambda x: x.rot90(1, (0, 0)), RuntimeError, "differ"),
        (lambda x: x.repeat_interleave(tensor([1, 2]), 1), RuntimeError, "one number or 3"),
        (lambda x: minidl.meshgrid(x), RuntimeError, "vectors"),
        (lambda x: x.diag(), RuntimeError, "vector or a matrix"),
        (lambda x: x[0, 0].tril(), RuntimeError, "two axes"),
        (lambda x: x.size(3), IndexError, "dim 3"),
    ],
)
def test_bad_shapes_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call(numbers(2, 3, 4))
