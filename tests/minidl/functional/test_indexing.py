"""x[...] and x[...] = v: against NumPy on random indices, against PyTorch where the two differ."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import no_grad, tensor

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


@st.composite
def basic(draw):
    shape = draw(SHAPES)
    key = draw(hnp.basic_indices(shape, allow_newaxis=True))
    items = key if isinstance(key, tuple) else (key,)
    steps = [k.step for k in items if isinstance(k, slice) and k.step is not None]
    return (shape, key) if all(s > 0 for s in steps) else (shape, Ellipsis)


@st.composite
def advanced(draw):
    """Index arrays and masks at some axes, slices at the others; without whole numbers."""
    shape = draw(SHAPES)
    count = draw(st.sampled_from([(), (1,), (3,), (2, 1), (2, 3)]))
    items = []
    for n in shape:
        kind = draw(st.integers(0, 3))
        if kind == 0:
            items.append(slice(draw(st.integers(0, n)), None, draw(st.integers(1, 2))))
        elif kind == 1 and count:
            items.append(draw(hnp.arrays(np.int64, count, elements=st.integers(-n, n - 1))))
        elif kind == 2 and not any(isinstance(i, np.ndarray) for i in items):
            return shape, (*items, draw(hnp.arrays(bool, (n,))))
        else:
            items.append(slice(None))
    return shape, tuple(items)


@given(basic())
@settings(max_examples=150, deadline=None)
def test_basic_indices_are_numpy_views(case):
    shape, key = case
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    x = tensor(array, requires_grad=True)
    out = x[key]
    np.testing.assert_array_equal(out.array, array[key])
    assert out.array.size == 0 or np.shares_memory(out.array, x.array)
    weights = np.arange(1.0, out.array.size + 1).reshape(out.shape)
    out.backward(tensor(weights))
    expected = np.zeros(shape)
    expected[key] = weights
    np.testing.assert_array_equal(x.grad.array, expected)


@given(advanced())
@settings(max_examples=200, deadline=None)
def test_index_arrays_and_masks_are_numpys(case):
    shape, key = case
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    x = tensor(array, requires_grad=True)
    ours = tuple(tensor(k) if isinstance(k, np.ndarray) else k for k in key)
    out = x[ours]
    np.testing.assert_array_equal(out.array, array[key])
    with no_grad():
        np.testing.assert_array_equal(x[ours].array, array[key])
    if not out.requires_grad:
        return
    weights = np.arange(1.0, out.array.size + 1).reshape(out.shape)
    out.backward(tensor(weights))
    expected = np.zeros(shape)
    np.add.at(expected, key, weights)  # the plain twin of what the backward does quicker
    np.testing.assert_array_equal(x.grad.array, expected)


@given(advanced(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_writing_is_numpys_on_the_tape_and_off_it(case, recorded):
    shape, key = case
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    leaf = tensor(array, requires_grad=recorded)
    x = leaf * 1.0 if recorded else leaf
    ours = tuple(tensor(k) if isinstance(k, np.ndarray) else k for k in key)
    values = -np.arange(1.0, array[key].size + 1).reshape(array[key].shape)
    value = tensor(values, requires_grad=recorded)
    x[ours] = value
    expected = array.copy()
    expected[key] = values
    np.testing.assert_array_equal(x.array, expected)
    if recorded:
        x.sum().backward()
        np.testing.assert_array_equal(leaf.grad.array, (expected >= 0).astype(float))
        # a value has a gradient where it is still seen
        seen = np.isin(values, expected)
        np.testing.assert_array_equal(value.grad.array, seen.astype(float))


def test_of_several_values_for_one_element_the_last_wins_alone():
    x = tensor(np.zeros(3), requires_grad=True) * 1.0
    v = tensor([1.0, 2.0, 3.0], dtype=np.float64, requires_grad=True)
    x[tensor([1, 1, 0])] = v
    np.testing.assert_array_equal(x.array, [3, 2, 0])
    x.sum().backward()
    np.testing.assert_array_equal(v.grad.array, [0, 1, 1])


def test_where_torch_and_numpy_differ_it_is_torch():
    torch = pytest.importorskip("torch")
    array = np.arange(24.0).reshape(2, 3, 4)
    x, t = tensor(array), torch.tensor(array)
    ids, rows = [0, 1, 3], [1, 0]
    for ours, theirs in (
        ((0, slice(None), tensor(ids)), (0, slice(None), torch.tensor(ids))),
        (
            (tensor(rows), slice(None), tensor(rows)),
            (torch.tensor(rows), slice(None), torch.tensor(rows)),
        ),
        ((tensor(rows), 1), (torch.tensor(rows), 1)),
        (True, True), (False, False), ((slice(None), None, True), (slice(None), None, True)),
        (tensor(1), torch.tensor(1)), (tensor(True), torch.tensor(True)),
        ([0, 1], [0, 1]), ([], []), (np.array([1, 1]), np.array([1, 1])),
        ((Ellipsis, tensor([[0], [1]])), (Ellipsis, torch.tensor([[0], [1]]))),
    ):  # fmt: skip
        np.testing.assert_array_equal(x[ours].array, t[theirs].numpy(), err_msg=f"{theirs}")


def test_a_part_changed_by_an_augmented_assignment():
    x = tensor(np.ones((3, 2)), requires_grad=True)
    y = x * 1.0
    y[1] *= 5.0
    y[tensor([0, 0])] += 1.0  # each element once: read, add, write
    y[:, 0] -= y[:, 1] * 2.0
    np.testing.assert_array_equal(y.array, [[-2, 2], [-5, 5], [-1, 1]])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [[1, -1], [5, -5], [1, -1]])


def test_iteration_and_membership():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    np.testing.assert_array_equal(x.grad.array, [[3, 4], [1, 2]])
    assert 3.0 in x
    assert tensor(7.0) not in x
    assert [r.tolist() for r in reversed(x)] == [[3, 4], [1, 2]]
    with pytest.raises(TypeError, match="0-d"):
        list(tensor(1.0))


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (5, IndexError, r"index 5 is out of bounds for axis 0 with size 2; the tensor has shape"),
        ((0, 0, 0), IndexError, "too many"),
        (slice(None, None, -1), ValueError, r"step .* above 0, got -1; use flip\(\)"),
        (1.5, IndexError, "got float"),
        ("a", IndexError, "got str"),
        (np.array([0.0]), IndexError, "must be integer or bool, got float64"),
        (np.array([True, False, True]), IndexError, r"mask of shape \(3,\) at axis 0 does not fit"),
        ((np.array([0, 1]), np.array([0, 1, 2])), IndexError, "not .*broadcast"),
        (np.array([2]), IndexError, "out of bounds|out of range"),
        ((np.array([0]), np.array([-4])), IndexError, "out of bounds|out of range"),
        (np.array([0], np.uint8), IndexError, r"\.bool\(\) or \.long\(\)"),
        ((Ellipsis, Ellipsis), IndexError, "one ellipsis|single ellipsis"),
    ],
)
def test_a_bad_index_is_named(key, error, text):
    for x in (tensor(np.zeros((2, 3))), tensor(np.zeros((2, 3)), requires_grad=True)):
        with pytest.raises(error, match=text):
            x[key]


def test_a_value_that_does_not_fit_is_named():
    for x in (tensor(np.zeros((2, 3))), tensor(np.zeros((2, 3)), requires_grad=True) * 1.0):
        with pytest.raises(ValueError, match=r"value of shape \(2,\) .* indexed shape \(3,\)"):
            x[0] = tensor([1.0, 2.0])
        with pytest.raises(ValueError, match=r"value of shape \(3,\) .* indexed shape \(2, 2\)"):
            x[:, tensor([0, 1])] = np.ones(3)
        x[0] = np.ones((1, 1, 3))  # leading ones are dropped, as in torch
        assert x[0].tolist() == [1, 1, 1]


def test_gather_scatter_and_their_kin_check_their_index():
    x = tensor(np.arange(6.0).reshape(2, 3))
    for call, error, text in (
        (lambda: x.gather(1, tensor([[3]])), IndexError, "3 is out of range for axis 1 with 3"),
        (lambda: x.gather(0, tensor([0])), RuntimeError, "as many axes"),
        (lambda: x.gather(1, tensor([[0.5]])), TypeError, r"whole numbers, got float32.*\.long"),
        (lambda: x.index_select(0, tensor([2])), IndexError, "2 is out of range for axis 0"),
        (lambda: x.index_select(0, tensor([[0]])), IndexError, "must be a vector"),
        (lambda: x.index_select(5, tensor([0])), IndexError, "dim 5 is out of range"),
        (lambda: x.index_add(0, tensor([0]), tensor(np.ones((2, 3)))), RuntimeError, r"\(1, 3\)"),
        (lambda: x.scatter(1, tensor([[0]]), tensor([[1]])), TypeError, "int64.*float64"),
        (lambda: x.scatter(1, tensor([[0, 1]]), tensor(np.ones((1, 1)))), RuntimeError, "as long"),
        (lambda: x.scatter(1, tensor([[0]]), 1.0, reduce="max"), ValueError, "'max'"),
        (lambda: x.take(tensor([6])), IndexError, "6 is out of range"),
        (lambda: x.masked_select(tensor([1, 0, 1])), TypeError, r"bool.*\.bool\(\)"),
        (lambda: x.masked_scatter(x > -1, tensor([1.0])), RuntimeError, "6 true elements"),
        (lambda: x.narrow(1, 2, 2), IndexError, "start 2 and length 2"),
        (lambda: x.unfold(1, 4, 1), RuntimeError, "size 4 must be at most 3"),
        (lambda: x.diagonal(0, 1, 1), RuntimeError, "same axis"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_large_table_gets_its_gradient_from_the_kernel():
    rng = np.random.default_rng(0)
    ids = rng.integers(-1000, 1000, 3000)
    x = tensor(rng.standard_normal((1000, 8)).astype(np.float32), requires_grad=True)
    weights = rng.standard_normal((3000, 8)).astype(np.float32)
    x[tensor(ids)].backward(tensor(weights))
    expected = np.zeros((1000, 8))
    np.add.at(expected, ids, weights.astype(np.float64))
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad.array, expected, rtol=1e-5, atol=1e-5)


def test_index_add_of_whole_numbers_is_exact():
    big = 2**53 + 1
    x = tensor([0, 0])
    out = x.index_add(0, tensor([1, 1]), tensor([big, 2]))
    assert out.tolist() == [0, big + 2]
    assert minidl.scatter_add(x, 0, tensor([1, 1]), tensor([big, 2])).tolist() == [0, big + 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: x.gather(0, i),
        lambda x, i: x.scatter(0, i, minidl.ones(2)),
        lambda x, i: x.scatter_add(0, i, minidl.ones(2)),
        lambda x, i: x.scatter_reduce(0, i, minidl.ones(2), "sum"),
        lambda x, i: x.index_select(0, i),
        lambda x, i: x.index_add(0, i, minidl.ones(2)),
        lambda x, i: x.index_copy(0, i, minidl.ones(2)),
    ],
)
def test_a_negative_index_does_not_quietly_mean_the_last(call):
    with pytest.raises(IndexError, match=r"(gather|scatter|index).*: indices count from 0, got -1"):
        call(minidl.zeros(3), minidl.tensor([0, -1]))


def test_negative_places_where_torch_takes_them():
    x = minidl.arange(3.0)
    assert minidl.take_along_dim(x, minidl.tensor([-1]), 0).tolist() == [2.0]
    assert x.take(minidl.tensor([-1])).tolist() == [2.0]
    assert x.index_fill(0, minidl.tensor([-1]), 9.0).tolist() == [0.0, 1.0, 9.0]
