"""The tape's cost: a chain of 1,000 small ops, forward and backward; and a process's start."""

from typing import ClassVar

import numpy as np

from benchmarks.alternate import Work
from benchmarks.speed._step import between


class OpChain(Work):
    """mul, add, tanh, sub, over and over, on side x side float32, then backward of the sum."""

    ops = 1_000
    side = 8
    repeats = 5
    settle = 0.1
    unit = "ops"

    small: ClassVar = {"ops": 40}

    @staticmethod
    def drawn(rng):
        return {"side": between(rng, 2, 24)}

    @property
    def units(self):
        return self.ops

    def minidl(self):
        import minidl

        return self._chain(minidl)

    def captured(self):
        import minidl

        if not hasattr(minidl, "capture"):
            raise ImportError("this minidl has no capture")
        return self._chain(minidl, minidl.capture)

    def torch(self):
        import torch

        return self._chain(torch)

    def _chain(self, lib, wrap=None):
        rng = np.random.default_rng(0)
        shape = (self.side, self.side)
        start = lib.tensor(rng.random(shape, np.float32), requires_grad=True)
        c = lib.tensor(rng.random(shape, np.float32))

        def step():
            x = start
            x.grad = None
            for _ in range(self.ops // 4):
                x = x * c
                x = x + c
                x = x.tanh()
                x = x - c
            total = x.sum()
            total.backward()
            return total

        step = step if wrap is None else wrap(step)

        def run():
            step()
            return float(start.grad.sum())

        return run


class Import(Work):
    """A new process that imports one package."""

    most_rounds = 12
    checked = False
    inside = False  # the work happens in processes of its own: no memory to report

    def numpy(self):
        return self._import("numpy")

    def minidl(self):
        return self._import("minidl")

    def torch(self):
        return self._import("torch")

    def jax(self):
        return self._import("jax")

    def _import(self, name):
        import compileall
        import importlib.util
        import subprocess
        import sys

        found = importlib.util.find_spec(name)
        if found is None:
            raise ImportError(f"no {name}")
        # As pip does when it installs a package; a checkout may not have its bytecode yet.
        for folder in found.submodule_search_locations:
            compileall.compile_dir(folder, quiet=2)
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True) and None
