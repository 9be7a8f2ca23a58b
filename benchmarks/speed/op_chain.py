"""The tape's cost: a chain of 1,000 small ops on 8 x 8, forward and backward.

    python -m benchmarks.speed.op_chain [--smoke]
"""

import argparse
import json

from benchmarks.alternate import Work, alternate, ratio, versions

OPS = 1_000


class OpChain(Work):
    """mul, add, tanh, sub, over and over, on 8 x 8 float32, then backward of the sum."""

    repeats = 5

    def minidl(self):
        import minidl

        return self._chain(minidl)

    def torch(self):
        import torch

        return self._chain(torch)

    def _chain(self, lib):
        import numpy as np

        rng = np.random.default_rng(0)
        start = lib.tensor(rng.random((8, 8), np.float32), requires_grad=True)
        c = lib.tensor(rng.random((8, 8), np.float32))

        def run():
            x = start
            x.grad = None
            for _ in range(OPS // 4):
                x = x * c
                x = x + c
                x = x.tanh()
                x = x - c
            x.sum().backward()
            return float(start.grad.sum())

        return run


class Import(Work):
    """A new process that imports one package."""

    def numpy(self):
        return self._import("numpy")

    def minidl(self):
        return self._import("minidl")

    def torch(self):
        import torch  # noqa: F401

        return self._import("torch")

    def _import(self, name):
        import compileall
        import importlib.util
        import subprocess
        import sys

        # As pip does when it installs a package; a checkout may not have its bytecode yet.
        for folder in importlib.util.find_spec(name).submodule_search_locations:
            compileall.compile_dir(folder, quiet=2)
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True) and None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="three rounds, to see that it runs")
    rounds = 3 if parser.parse_args(argv).smoke else 30
    chain = alternate("benchmarks.speed.op_chain:OpChain", ["minidl", "torch"], rounds)
    start = alternate("benchmarks.speed.op_chain:Import", ["numpy", "minidl", "torch"], rounds)
    for name, result in chain.items():
        print(f"op chain {name:8s} {result['median'] / OPS * 1e6:6.2f} us an op "
              f"(spread {result['spread']:.0%})")  # fmt: skip
    for name, result in start.items():
        milliseconds = result["median"] * 1e3
        print(f"import   {name:8s} {milliseconds:6.0f} ms (spread {result['spread']:.0%})")
    summary = {"import: ours / numpy": 1 / ratio(start, "numpy"), "versions": versions()}
    if "torch" in chain:
        summary["op chain: torch / ours"] = ratio(chain, "torch")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
