"""What a module adds to its state and to its calls: extra state, hooks with keywords, paths."""

import numpy as np
import pytest

import minidl
from minidl import nn


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x, by=1):
        self.seen += 1
        return x * by

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]


def test_extra_state_travels_with_the_rest():
    model, other = (nn.Sequential(nn.Linear(2, 2), Counting()) for _ in range(2))
    model(minidl.ones(1, 2))
    state = model.state_dict()
    assert state["1._extra_state"] == {"seen": 1}
    other.load_state_dict(state)
    assert other[1].seen == 1
    assert np.array_equal(other[0].weight.numpy(force=True), model[0].weight.numpy(force=True))


def test_extra_state_that_is_missing_or_unexpected_is_told():
    model, plain = nn.Sequential(Counting()), nn.Sequential(nn.Identity())
    with pytest.raises(RuntimeError, match=r"missing keys: 0\._extra_state"):
        model.load_state_dict({})
    assert model.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]
    with pytest.raises(RuntimeError, match=r"unexpected keys: 0\._extra_state"):
        plain.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="define get_extra_state"):
        plain.get_extra_state()


def test_hooks_that_see_keyword_arguments():
    model, seen = Counting(), []

    def before(module, args, kwargs):
        seen.append(kwargs)
        return args, {"by": 5}

    def after(module, args, kwargs, out):
        seen.append(kwargs)
        return out + 1

    with (
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after, with_kwargs=True),
    ):
        assert model(minidl.ones(1), by=3).item() == 6
    assert seen == [{"by": 3}, {"by": 5}]
    assert model(minidl.ones(1), by=3).item() == 3


def test_a_hook_may_be_put_before_the_others():
    model, order = Counting(), []
    model.register_forward_hook(lambda *_: order.append("second"))
    model.register_forward_hook(lambda *_: order.append("first"), prepend=True)
    model(minidl.ones(1))
    assert order == ["first", "second"]


def test_set_submodule():
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1)))
    model.set_submodule("0.0", nn.ReLU())
    model.set_submodule("0.1", nn.Tanh())
    assert [type(m) for m in model[0]] == [nn.ReLU, nn.Tanh]
    with pytest.raises(AttributeError, match="no submodule '2'"):
        model.set_submodule("0.2", nn.Tanh(), strict=True)
    with pytest.raises(ValueError, match="is no path"):
        model.set_submodule("", nn.Tanh())
    with pytest.raises(TypeError, match="a Module is needed, got int"):
        model.set_submodule("0.0", 3)


def test_parameter_dict_is_a_dict():
    one = nn.ParameterDict({"a": minidl.ones(1), "b": minidl.ones(2)})
    assert one.get("c") is None
    assert one.get("a") is one["a"]
    assert one.setdefault("a", minidl.ones(9)) is one["a"]
    assert one.setdefault("c", minidl.ones(3)).shape == (3,)
    assert isinstance(one["c"], nn.Parameter)
    both = one | nn.ParameterDict({"d": minidl.ones(4)})
    assert list(both.state_dict()) == ["a", "b", "c", "d"]
    assert both["a"] is one["a"]
    copied = one.copy()
    copied |= {"e": minidl.ones(1)}
    assert list(copied) == ["a", "b", "c", "e"]
    assert one.pop("b").shape == (2,)
    assert one.popitem()[0] == "c"
    assert list(one) == ["a"]
    assert list(one.fromkeys(["x", "y"], minidl.ones(1))) == ["x", "y"]
    one.clear()
    assert not len(one)
    assert not one.state_dict()
