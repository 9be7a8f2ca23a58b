"""A step of an embedding table of which a batch reads few rows: backward and optimizer.

    python -m benchmarks.speed.sparse_step [--smoke]

8,192 ids are drawn from a table (V, 64) in float32: evenly, or by a power law as a shop's items
are. Timed are backward and the step of SparseAdam, without and with the forward; torch does the
same with Embedding(sparse=True) and its SparseAdam. Both must end with the same table.
"""

import argparse
import json

from benchmarks.alternate import Work, alternate, ratio, versions

BATCH, WIDTH, BATCHES = 8_192, 64, 8
FEW, MANY = 50_000, 1_000_000


class SparseStep(Work):
    """rows of the table; skewed: ids by a power law; forward: its time counts."""

    rows = FEW
    skewed = False
    forward = False
    repeats = 10

    def minidl(self):
        import minidl
        from minidl import nn, optim

        return self._step(minidl, nn, optim)

    def torch(self):
        import warnings

        import torch
        from torch import nn, optim

        warnings.filterwarnings("ignore", "Sparse invariant checks")
        return self._step(torch, nn, optim)

    def _step(self, lib, nn, optim):
        import numpy as np

        rng = np.random.default_rng(0)
        table = rng.standard_normal((self.rows, WIDTH), np.float32)
        gradient = lib.tensor(rng.standard_normal((BATCH, WIDTH), np.float32))
        start = lib.tensor(table.copy())
        layer = nn.Embedding.from_pretrained(start, freeze=False, sparse=True)
        optimizer = optim.SparseAdam(layer.parameters(), lr=1e-3)
        if self.skewed:
            share = 1 / np.arange(1, self.rows + 1)
            draws = rng.choice(self.rows, (BATCHES, BATCH), p=share / share.sum())
        else:
            draws = rng.integers(0, self.rows, (BATCHES, BATCH))
        batches = [lib.tensor(ids) for ids in draws]
        outputs = [] if self.forward else [layer(ids) for ids in batches]
        count = 0

        def run():
            nonlocal count
            i = count % BATCHES
            count += 1
            optimizer.zero_grad()
            out = layer(batches[i]) if self.forward else outputs[i]
            out.backward(gradient, retain_graph=True)
            optimizer.step()
            if count == 1:  # the checksum
                rows = layer.weight.detach().numpy()[draws[0]]
                return float((rows - table[draws[0]]).astype(np.float64).sum())
            return None

        return run


def measure(rounds, **settings):
    """Times of both, a printed line for each, and torch's time over ours (None without torch)."""
    target = "benchmarks.speed.sparse_step:SparseStep"
    results = alternate(target, ["minidl", "torch"], rounds, **settings)
    checks = [result["checksum"] for result in results.values()]
    if max(checks) - min(checks) > 1e-3:
        raise RuntimeError(f"the libraries disagree after one step: {checks}")
    names = [name for name, on in settings.items() if on is True]
    label = f"{settings['rows']:9,d} rows {' '.join(names):15s}"
    for name, result in results.items():
        median, best = result["median"] * 1e3, min(result["times"]) * 1e3
        print(f"{label} {name:7s} {median:7.3f} ms, best {best:7.3f} ms")
    return results["minidl"], ratio(results, "torch") if "torch" in results else None


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="three rounds, to see that it runs")
    smoke = parser.parse_args(argv).smoke
    rounds, few, many = (3, 1_000, 2_000) if smoke else (30, FEW, MANY)
    summary: dict = {}
    best: dict = {}
    for rows in (few, many):
        for skewed in (False, True):
            for forward in (False, True):
                settings = {"rows": rows, "skewed": skewed, "forward": forward}
                ours, times = measure(rounds, **settings)
                name = f"{rows}{' skewed' * skewed}{' with forward' * forward}"
                best[name] = min(ours["times"])  # the least disturbed round
                summary[f"{name}: torch / ours"] = times
    summary[f"best of {many} rows / best of {few}"] = best[str(many)] / best[str(few)]
    print(json.dumps({**summary, "versions": versions()}))


if __name__ == "__main__":
    main()
