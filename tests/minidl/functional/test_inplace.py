"""Each change in place against the function it is made of, and the rules of the tape."""

import numpy as np
import pytest

import minidl
from minidl import no_grad, tensor

ONE = [
    "abs", "acos", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "erfc", "exp",
    "exp2", "expm1", "floor", "log", "log10", "log1p", "log2", "neg", "reciprocal", "relu",
    "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
    "logit", "nan_to_num", "frac", "sinc",
]  # fmt: skip
MORE = {
    "add": ((0.5,), {"alpha": 2}), "sub": ((0.5,), {}), "mul": ((1.5,), {}), "div": ((2.0,), {}),
    "pow": ((3,), {}), "clamp": ((), {"min": 0.3, "max": 0.7}), "clamp_min": ((0.4,), {}),
    "clamp_max": ((0.6,), {}), "cumsum": ((1,), {}), "cumprod": ((0,), {}), "tril": ((), {}),
    "triu": ((1,), {}), "fmod": ((0.3,), {}), "remainder": ((0.3,), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", [*ONE, *MORE])
def test_in_place_equals_out_of_place(name):
    args, kwargs = MORE.get(name, ((), {}))
    values = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4))
    weights = tensor(np.arange(12.0).reshape(3, 4))
    a, b = tensor(values, requires_grad=True), tensor(values, requires_grad=True)
    expected = getattr(a, name)(*args, **kwargs)
    x = b * 1.0
    out = getattr(x, name + "_")(*args, **kwargs)
    assert out is x
    np.testing.assert_array_equal(x.array, expected.array)
    (expected * weights).sum().backward()
    (x * weights).sum().backward()
    np.testing.assert_allclose(b.grad.array, a.grad.array, rtol=1e-12)
    with no_grad():  # off the tape, where NumPy may write into the tensor at once
        plain = tensor(values)
        memory = plain.array
        getattr(plain, name + "_")(*args, **kwargs)
    assert plain.array is memory
    np.testing.assert_allclose(memory, expected.array, rtol=1e-15)


def test_every_name_of_torchs_in_place_methods_means_the_same_thing():
    torch = pytest.importorskip("torch")
    ours = [n for n in dir(minidl.Tensor) if n.endswith("_") and not n.startswith("_")]
    assert len(ours) > 80
    assert not [n for n in ours if not hasattr(torch.Tensor, n)]


def test_two_operands_with_gradients():
    rng = np.random.default_rng(1)
    values, other = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, (3,))
    for change, function in (
        (lambda x, w: x.add_(w), lambda x, w: x + w),
        (lambda x, w: x.sub_(w, alpha=3), lambda x, w: x - 3 * w),
        (lambda x, w: x.mul_(w), lambda x, w: x * w),
        (lambda x, w: x.div_(w), lambda x, w: x / w),
        (lambda x, w: x.pow_(w), lambda x, w: x**w),
        (lambda x, w: x.addcmul_(w, x, value=2), lambda x, w: x + 2 * w * x),
        (lambda x, w: x.addcdiv_(w, x * 1, value=2), lambda x, w: x + 2 * w / x),
        (lambda x, w: x.lerp_(w.expand(2, 3), 0.25), lambda x, w: x + 0.25 * (w - x)),
        (lambda x, w: x.atan2_(w), lambda x, w: x.atan2(w)),
        (lambda x, w: x.mul_(x), lambda x, w: x * x + 0 * w),
        (lambda x, w: x.copy_(w), lambda x, w: w + 0 * x),
        (lambda x, w: x.fill_(w[1]), lambda x, w: w[1] + 0 * x),
        (lambda x, w: x.masked_fill_(x > 1, w[0]), lambda x, w: x.masked_fill(x > 1, w[0])),
    ):
        grads = []
        for run in (change, function):
            a, w = tensor(values, requires_grad=True), tensor(other, requires_grad=True)
            out = run(a * 1.0, w)
            (out * out).sum().backward()
            known = 0 * a.array if a.grad is None else a.grad.array
            grads.append([known, w.grad.array if w.grad is not None else 0 * w.array])
        for got, want in zip(*grads):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_augmented_assignments_change_the_tensor_itself():
    array = np.array([1.0, 2.0, 3.0])
    x = minidl.from_numpy(array)
    kept = x
    x += 1
    x *= tensor([2.0, 2.0, 2.0], dtype=minidl.float64)
    x -= 0.5
    x /= 2
    x **= 2
    assert x is kept
    np.testing.assert_array_equal(array, [1.75**2, 2.75**2, 3.75**2])
    whole = tensor([5, 7])
    whole += 1
    whole *= 2
    assert whole.tolist() == [12, 16]
    with pytest.raises(TypeError, match=r"float32 cannot be stored .* int64.*\.float\(\)"):
        whole /= 2
    with pytest.raises(TypeError, match="cannot be stored"):
        whole += 0.5


def test_float32_stays_and_takes_float64():
    x = tensor([1.0, 2.0])
    x += np.float64(1.0)
    x.add_(tensor([1.0, 1.0], dtype=minidl.float64))
    assert x.dtype == np.float32
    assert x.tolist() == [3, 4]


def test_a_leaf_may_change_only_off_the_tape():
    x = tensor([1.0, 2.0], requires_grad=True)
    for change in (
        lambda: x.add_(1), lambda: x.__iadd__(1), lambda: x.zero_(), lambda: x.normal_(),
        lambda: x[:1].mul_(2), lambda: x.__setitem__(0, 1.0), lambda: x.exp_(),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"leaf .*no_grad\(\)"):
            change()
    assert x.tolist() == [1, 2]
    with no_grad():
        x.add_(1)
        x[0] = 7.0
    x.data.mul_(2)
    assert x.tolist() == [14, 6]
    assert x.is_leaf
    assert x.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.add_(1), lambda y: y[0].zero_(), lambda y: y.__setitem__(0, 5.0),
        lambda y: y.detach().mul_(2), lambda y: y.reshape(-1).exp_(), lambda y: y.fill_(1),
        lambda y: y.T.copy_(y.T + 1), lambda y: y.uniform_(), lambda y: y.__setitem__(y > 0, 1.0),
    ],
)  # fmt: skip
def test_a_change_that_falsifies_a_pending_backward_is_found(change):
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 2.0
    z = (y * y).sum()
    change(y)
    with pytest.raises(RuntimeError, match=r"modified by an in-place .*clone\(\)"):
        z.backward()


def test_a_change_that_falsifies_nothing_passes():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0  # of x's values none is needed
    z = y + 1.0
    y.mul_(5.0)
    with no_grad():
        x.add_(10.0)
    (y.sum() + z.sum()).backward()
    assert x.grad.tolist() == [12, 12]


def test_what_was_overwritten_has_no_gradient():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2.0
    y.zero_()
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]
    y = x * 2.0
    y[1:].fill_(4.0)
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_a_constant_becomes_part_of_the_graph():
    w = tensor([2.0], requires_grad=True)
    x = minidl.zeros(3)
    first = x[0]
    x[1:] = w * 3.0
    x += w
    assert not x.is_leaf
    (first + x.sum()).backward()  # the view made before sees the change
    assert w.grad.tolist() == [1 + 1 + 4 + 4]


def test_a_result_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"add_: the result has shape \(2, 3\).* into \(3,\)"):
        tensor([1.0, 2.0, 3.0]).add_(tensor([[1.0] * 3] * 2))
    with pytest.raises(RuntimeError, match="one number"):
        tensor([1.0]).fill_(tensor([1.0, 2.0]))


def test_detach_in_place_and_new_data():
    x = tensor([1.0], requires_grad=True)
    y = x * 2.0
    y.detach_()
    assert y.is_leaf
    assert not y.requires_grad
    with pytest.raises(RuntimeError, match="view"):
        (x * 2.0)[:1].detach_()
    x.data = tensor([5.0, 6.0])
    assert x.tolist() == [5, 6]
    assert x.requires_grad
    with pytest.raises(TypeError, match="Tensor is needed, got list"):
        x.data = [1.0]
    whole = tensor([1.0, 2.0])
    part = whole[:1]
    part.data = tensor([7.0])
    part.add_(1)  # no view of `whole` any more
    assert (part.item(), whole.tolist(), whole._version) == (8, [1, 2], 0)
    y = tensor([1.0])
    assert y.requires_grad_() is y
    assert y.requires_grad
