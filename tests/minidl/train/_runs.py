"""The model, the data and the killing that the tests of fit share."""

import numpy as np

import minidl
from minidl import nn
from minidl.data import DataLoader, TensorDataset
from minidl.train import (
    Callback,
)


def sample_data(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 6)).astype("f4")
    return x, (x[:, 0] + 0.3 * x[:, 1] > 0).astype(np.int64)


def make_model(seed=0, width=8):
    minidl.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.4), nn.Linear(width, 2))


def make_loader(seed=5, rows=50, **settings):
    return DataLoader(TensorDataset(*sample_data(rows)), 8, shuffle=True, seed=seed, **settings)


def weights(model):
    return {k: v.array.copy() for k, v in model.state_dict().items()}


def bits(model, optimizer):
    state = optimizer.state_dict()["state"]
    arrays = [*weights(model).values()]
    arrays += [getattr(v, "array", np.asarray(v)) for s in state.values() for v in s.values()]
    return b"".join(a.tobytes() for a in arrays)


class Killed(Exception):
    pass


class KillAt(Callback):
    """Stands for SIGKILL: what is not in a file is gone."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, run):
        if run.step == self.step:
            raise Killed
