"""One call for all parameters of a group gives what a step of each alone gives."""

from copy import deepcopy

import numpy as np
import pytest

from minidl import nn, optim, tensor

SHAPES = (3, 4), (), (0, 2), (9000,), (5,)
MAKE = {
    "SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "AdamW": {}, "RMSprop": {"centered": True},
    "Adagrad": {}, "Adadelta": {}, "Adamax": {}, "NAdam": {}, "RAdam": {}, "Rprop": {}, "Lion": {},
}  # fmt: skip


def _parameters(rng):
    made = [nn.Parameter(tensor(rng.standard_normal(s).astype(np.float32))) for s in SHAPES]
    made.append(nn.Parameter(tensor(rng.standard_normal((2, 3)))))  # float64
    made.append(nn.Parameter(tensor(rng.standard_normal((4, 3)).astype(np.float32).T)))
    made.append(nn.Parameter(tensor(rng.standard_normal(7).astype(np.float16))))
    return made


def _give_gradients(params, seed, left_out=()):
    rng = np.random.default_rng(seed)
    for i, p in enumerate(params):
        values = rng.standard_normal(p.shape).astype(p.dtype)
        p.grad = None if i in left_out else tensor(values)


@pytest.mark.parametrize("name", MAKE)
def test_together_is_one_by_one(name):
    together, apart = (_parameters(np.random.default_rng(0)) for _ in range(2))
    all_at_once = getattr(optim, name)(together, **MAKE[name])
    each = [getattr(optim, name)([p], **MAKE[name]) for p in apart]

    def step(seed, left_out=()):
        _give_gradients(together, seed, left_out)
        _give_gradients(apart, seed, left_out)
        all_at_once.step()
        for optimizer in each:
            optimizer.step()

    step(1)
    step(2, left_out=(0, 3))
    step(3)
    for params in (together, apart):  # memory elsewhere: the places are found anew
        params[0].data = tensor(params[0].array.copy())
        params[3].array = params[3].array.copy()
    all_at_once.load_state_dict(deepcopy(all_at_once.state_dict()))
    step(4)
    for p, q in zip(together, apart):
        assert p.array.tobytes() == q.array.tobytes()


def test_a_copied_optimizer_steps_its_own_parameters():
    params = _parameters(np.random.default_rng(0))
    optimizer = optim.Adam(params)
    _give_gradients(params, 1)
    optimizer.step()
    other = deepcopy(optimizer)
    before = [p.array.copy() for p in params]
    copies = other.param_groups[0]["params"]
    _give_gradients(copies, 2)
    other.step()
    for p, kept, copy in zip(params, before, copies):
        assert p.array.tobytes() == kept.tobytes()
        assert not p.array.size or (copy.array != kept).any()


def test_a_read_only_or_transposed_gradient_serves():
    x = [nn.Parameter(tensor(np.zeros((3, 4), np.float32))) for _ in range(2)]
    x[0].grad = tensor(np.broadcast_to(np.float32(2), (3, 4)))
    x[1].grad = tensor(np.full((4, 3), 2, np.float32).T)
    optim.SGD(x, lr=0.5).step()
    for p in x:
        np.testing.assert_array_equal(p.array, -1)
