"""When a program may be used, when the step is recorded anew, and what is refused."""

import itertools
import threading

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import CaptureError, nn, optim
from minidl.kernels._jit import kernel


def filled(*shape, seed=0):
    return minidl.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def warm(step, *args, times=3):
    """Three calls: recorded, recorded, replayed."""
    for _ in range(times):
        out = step(*args)
    return out


def test_a_new_shape_dtype_or_layout_is_recorded_anew():
    step = minidl.capture(lambda x: (x * 2 + 1).sum(0))
    a, b = filled(4, 3), filled(6, 3)
    warm(step, a)
    assert (step.recordings, step.replays) == (2, 1)
    np.testing.assert_array_equal(step(b).numpy(), (b * 2 + 1).sum(0).numpy())
    assert step.recordings == 3
    warm(step, b)
    warm(step, a.double())
    step(a)  # the first program is still there
    turned = filled(3, 4).T
    expected = (turned * 2 + 1).sum(0).numpy()
    for _ in range(3):
        np.testing.assert_array_equal(step(turned).numpy(), expected)
    assert step.recordings == 8
    assert len(step.programs) == 4


def test_python_numbers_of_the_arguments_are_constants_of_a_program():
    step = minidl.capture(lambda x, k, flag=False: x * k if flag else x + k)
    x = filled(5)
    for k in (1, 2.5, 1):
        for flag in (True, False):
            out = warm(step, x, k, flag)
            np.testing.assert_array_equal(out.numpy(), (x * k if flag else x + k).numpy())
    assert step.recordings == 8
    np.testing.assert_array_equal(step(x, k=1, flag=True).numpy(), x.numpy())


def test_tensors_as_arguments_are_inputs():
    step = minidl.capture(lambda x, rate: x * rate)
    x = filled(5)
    for i in range(6):
        rate = minidl.tensor(0.5 * i)
        np.testing.assert_array_equal(step(x, rate).numpy(), (x * rate).numpy())
    assert step.recordings == 2


def test_modes_and_settings_of_modules():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    step = minidl.capture(lambda x: model(x))
    x = filled(6, 4)
    warm(step, x)
    model.eval()
    out = warm(step, x)
    np.testing.assert_allclose(out.numpy(), model(x).detach().numpy(), rtol=1e-6)
    assert step.recordings == 4
    model.train()
    step(x)
    assert step.recordings == 4
    model[1].p = 0.25
    step(x)
    assert step.recordings == 5
    model[1].p = 0.5
    model[2].eval()
    step(x)
    assert step.recordings == 6


def test_grad_mode_and_frozen_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))

    def run(x):
        loss = model(x).sum()
        if minidl.is_grad_enabled():
            for p in model.parameters():
                p.grad = None
            loss.backward()
        return loss

    step, x = minidl.capture(run), filled(3, 4)
    warm(step, x)
    with minidl.no_grad():
        warm(step, x)
    assert step.recordings == 4
    model[0].requires_grad_(False)
    model.zero_grad()
    warm(step, x)
    assert step.recordings == 6
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None
    model[0].weight.requires_grad_(True)
    warm(step, x)
    assert step.recordings == 8


def test_parameters_that_moved_are_read_anew():
    model = nn.Linear(4, 2)
    step, x = minidl.capture(lambda x: model(x)), filled(3, 4)
    warm(step, x)
    other = nn.Linear(4, 2)
    model.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(step(x).numpy(), other(x).detach().numpy())
    model.weight.data = filled(2, 4, seed=5)
    np.testing.assert_array_equal(step(x).numpy(), model(x).detach().numpy())
    assert step.recordings == 2


def test_learning_rate_and_betas_are_inputs():
    losses = []
    for captured in (False, True):
        minidl.manual_seed(0)
        model = nn.Linear(4, 2)
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = minidl.capture(step, fuse=False) if captured else step
        found = []
        for i in range(12):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
            optimizer.param_groups[0]["betas"] = (0.9 - 0.01 * i, 0.99)
            found.append(step(filled(3, 4, seed=i)).item())
        losses.append(found)
    assert losses[0] == losses[1]


def test_random_numbers_go_on_as_in_eager():
    def run(x):
        noise = minidl.randn(4, 3)
        kept = F.dropout(x, 0.5) + noise + minidl.rand(3) * F.dropout1d(x[None], 0.3)[0]
        return kept + minidl.randint(0, 5, (3,)) + minidl.bernoulli(x.sigmoid())

    step, x = minidl.capture(run, fuse=False), filled(4, 3)
    minidl.manual_seed(3)
    expected = [run(x).numpy() for _ in range(6)]
    minidl.manual_seed(3)
    for want in expected:
        np.testing.assert_array_equal(step(x).numpy(), want)
    assert step.replays >= 3
    state = minidl.get_rng_state()
    one = step(x).numpy()
    minidl.set_rng_state(state)
    np.testing.assert_array_equal(step(x).numpy(), one)


def test_programs_are_bounded():
    step = minidl.capture(lambda x: x + 1, limit=2)
    for n in (1, 2, 3):
        warm(step, filled(n))
    assert len(step.programs) == 2
    step(filled(3))
    assert step.recordings == 6
    step(filled(1))
    assert step.recordings == 7


def test_results_are_the_callers():
    step, x = minidl.capture(lambda x: (x, x * 2, {"view": x[1:]})), filled(3)
    warm(step, x)
    same, double, parts = step(x)
    kept = [t.numpy().copy() for t in (same, double, parts["view"])]
    x.mul_(3)
    step(x)
    for t, before in zip((same, double, parts["view"]), kept):
        np.testing.assert_array_equal(t.numpy(), before)
        assert not t.requires_grad


def test_gradients_of_arguments():
    step = minidl.capture(lambda x: run(x))

    def run(x):
        loss = (x * x).sum()
        loss.backward()
        return loss

    for i in range(4):
        x = filled(3, seed=i).requires_grad_()
        step(x)
        np.testing.assert_array_equal(x.grad.numpy(), 2 * x.detach().numpy())
    assert step.recordings == 2


def test_branches_inside_minidl_are_conditions():
    """cross_entropy looks whether labels are ignored: each answer has a program of its own."""
    step = minidl.capture(lambda x, y: F.cross_entropy(x, y, ignore_index=-1))
    x, plain = filled(4, 3), minidl.tensor([0, 1, 2, 0])
    some = minidl.tensor([0, -1, 2, -1])
    for _ in range(4):
        for y in (plain, some):
            np.testing.assert_array_equal(
                step(x, y).numpy(), F.cross_entropy(x, y, ignore_index=-1).numpy()
            )
    with pytest.raises((ValueError, IndexError)):
        step(x, minidl.tensor([0, 1, 7, 0]))


def halve_ref(x, y):
    y[:] = x * 0.5


@kernel(reference=halve_ref)
def halve(x, y):
    part = np.empty(x.size, x.dtype)
    for i in range(x.size):
        part[i] = x[i] * x.dtype.type(0.5)
        y[i] = part[i]


def test_kernels_are_compiled_while_recording():
    """NumPy's functions are changed then, and Numba must find its own."""

    def run(x):
        out = minidl.zeros(3)
        halve(x.array, out.array)
        return out + x

    step, empty = minidl.capture(run), np.empty
    for i in range(4):
        x = filled(3, seed=i)
        np.testing.assert_allclose(step(x).numpy(), 1.5 * x.numpy(), rtol=1e-6)
    assert step.replays == 2
    assert np.empty is empty


def test_threads_take_turns():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    step = minidl.capture(lambda x: model(x))
    inputs = [filled(5, 8, seed=i) for i in range(8)]
    expected = [model(x).detach().numpy() for x in inputs]
    warm(step, inputs[0])
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.allclose(step(inputs[i]).numpy(), expected[i], rtol=1e-5, atol=1e-6):
                wrong.append(i)
            other = model(inputs[i]).detach().numpy()  # eager beside it
            if not np.array_equal(other, expected[i]):
                wrong.append(-i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_as_a_decorator_and_of_methods():
    @minidl.capture(fuse=False)
    def step(x):
        """Doc."""
        return x + 1

    assert step.__name__ == "step"
    assert step.__doc__ == "Doc."
    warm(step, filled(2))
    assert "1 replayed" in repr(step)
    step.reset()
    assert not step.programs

    class Trainer:
        def __init__(self, rate):
            self.rate = rate

        @minidl.capture
        def step(self, x):
            return x * self.rate

    one, two = Trainer(2.0), Trainer(3.0)
    x = filled(2)
    for trainer in (one, two):
        for _ in range(3):
            np.testing.assert_array_equal(trainer.step(x).numpy(), (x * trainer.rate).numpy())


def test_a_captured_part_of_a_captured_step():
    inner = minidl.capture(lambda x: x * 2)
    outer = minidl.capture(lambda x: inner(x) + 1)
    np.testing.assert_array_equal(warm(outer, filled(3)).numpy(), (filled(3) * 2 + 1).numpy())
    assert inner.recordings == 0


# what is refused, with the line

COUNT = itertools.count()


def refused(run, *args, match):
    step = minidl.capture(run)
    with pytest.raises(CaptureError, match=match) as caught:
        warm(step, *args, times=6)
    assert "test_guards.py:" in str(caught.value) or "does not do the same" in str(caught.value)
    assert not minidl._tensor.recorders  # all is put back
    assert (filled(2) + 1).sum().item() is not None


def branch(x):
    return x * 2 if x.sum() > 0 else x


def masked(x):
    return x[x > 0]


def hooked(x):
    y = x * 2
    y.register_hook(lambda g: g * 2)
    y.sum().backward()


def rebound(x, w=filled(3)):  # noqa: B008
    w.data = w + x
    return w


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (branch, "bool.*where and masks"),
        (lambda x: x * x.sum().item(), "item"),
        (lambda x: x * float(x.sum()), "float"),
        (lambda x: x * int(x.sum()), "int"),
        (lambda x: x * x.tolist()[0], "tolist"),
        (lambda x: x.detach().numpy() + 1, "numpy"),
        (lambda x: np.asarray(x.detach()) + 1, "NumPy takes"),
        (lambda x: str(x), "printed"),
        (masked, "shape depends on the data"),
        (lambda x: x.nonzero(), "shape depends on the data"),
        (lambda x: minidl.unique(x), "shape depends on the data"),
        (hooked, "hook"),
        (rebound, "another storage"),
        (lambda x: minidl.manual_seed(0), "random state"),
        (lambda x: x * np.random.default_rng().random(), "does not do the same"),
        (lambda x: x * next(COUNT), "does not do the same"),
    ],
)
def test_refused(run, match):
    refused(run, filled(3).requires_grad_(), match=match)


def test_refused_steps_of_optimizers_and_anomalies():
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), 0.1)
    refused(lambda x: optimizer.step(lambda: model(x).sum()), filled(2, 3), match="closure")

    def anomalous(x):
        with minidl.autograd.detect_anomaly():
            model(x).sum().backward()

    refused(anomalous, filled(2, 3), match="detect_anomaly")


def test_a_graph_that_begins_before_the_step():
    x = filled(3).requires_grad_()
    with pytest.raises(CaptureError, match="detached"):
        minidl.capture(lambda y: y.sum())(x * 2)
    hidden = x * 2
    with pytest.raises(CaptureError, match="before the step"):
        minidl.capture(lambda y: (y * hidden).sum().backward())(filled(3))


def test_wrong_arguments():
    with pytest.raises(TypeError, match="function"):
        minidl.capture(3)
    with pytest.raises(ValueError, match="limit"):
        minidl.capture(lambda x: x, limit=0)


def test_eager_is_untouched():
    before = {name: minidl.Tensor.__dict__[name] for name in ("array", "grad", "__init__")}
    warm(minidl.capture(lambda x: x + 1), filled(3))
    for name, member in before.items():
        assert minidl.Tensor.__dict__[name] is member
    with pytest.raises(CaptureError):
        minidl.capture(branch)(filled(3))
    for name, member in before.items():
        assert minidl.Tensor.__dict__[name] is member


def test_a_hook_that_comes_later_is_called():
    layer, seen = nn.Linear(3, 2), []
    forward = minidl.capture(lambda x: layer(x))
    x = minidl.ones(4, 3)
    before = [forward(x).numpy() for _ in range(4)][-1]
    assert forward.replays
    handle = layer.register_forward_hook(lambda module, args, out: seen.append(1) or out * 2)
    np.testing.assert_allclose(forward(x).numpy(), 2 * before, rtol=1e-6)
    assert seen
    handle.remove()
    np.testing.assert_array_equal(forward(x).numpy(), before)
