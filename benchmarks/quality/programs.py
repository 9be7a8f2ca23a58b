"""Six plain PyTorch programs, run under PyTorch and under minidl: how far their losses part.

    python -m benchmarks quality programs [--steps 50] [NAME ...]

The programs stand in tests/programs as their authors' kind is written, with `import torch`; under
minidl the same text runs with those lines saying minidl. Both start from the weights that PyTorch
drew and take their dropout masks from one NumPy generator. The gap of two runs is the largest
|a - b| / max(1, |b|) of their losses. What float32 costs either library is the gap of its run from
PyTorch's in float64, begun with the same weights. (PyTorch's runs with 1 and 2 threads do not tell:
of `dcgan` both are off by 5e-4 in the same way, and equal to 1e-7.)
"""

import argparse
import contextlib
import importlib
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[2] / "tests" / "programs"

PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "decoder": ("decoder", {}),
    "decoder_sdpa": ("decoder", {"flash": True}),
    "text_cnn": ("text_cnn", {}),
    "lstm_lm": ("word_lm", {"rnn_type": "LSTM"}),
    "gru_lm": ("word_lm", {"rnn_type": "GRU", "tied": False}),
    "dcgan": ("dcgan", {}),
    "resnet": ("resnet", {}),
    "wgan_gp": ("wgan_gp", {}),
}
"""Name: (file in tests/programs, arguments of its build)."""

Run = tuple[list[Any], dict[str, Any]]


def load(file: str, library: str) -> types.ModuleType:
    """The program with its import lines naming `library` instead of torch."""
    path = FOLDER / f"{file}.py"
    text = path.read_text()
    if library != "torch":
        text = re.sub(r"^import torch$", f"import {library} as torch", text, flags=re.M)
        text = re.sub(r"^(import|from) torch\b", rf"\1 {library}", text, flags=re.M)
    module = types.ModuleType(f"{file}_under_{library}")
    sys.modules[module.__name__] = module  # dataclasses look there for their module
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


@contextlib.contextmanager
def shared_masks(library: str, seed: int = 11) -> Iterator[None]:
    """F.dropout with masks drawn by NumPy: the same sequence under each library."""
    torch = importlib.import_module(library)
    functional = importlib.import_module(f"{library}.nn.functional")
    rng, kept = np.random.default_rng(seed), functional.dropout

    def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0:
            return input
        mask = (rng.random(tuple(input.shape)) >= p) / (1 - p)
        return input * torch.from_numpy(mask).to(input.dtype)

    functional.dropout = dropout
    try:
        yield
    finally:
        functional.dropout = kept


def weights_of(models: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The state of each module as arrays of its own."""
    return {
        name: {key: value.detach().numpy().copy() for key, value in model.state_dict().items()}
        for name, model in models.items()
    }


def run(
    name: str, library: str, dtype: str, steps: int, weights: dict[str, Any] | None = None
) -> tuple[Run, dict[str, Any]]:
    """((losses, what else the program tells), the weights it began with)."""
    file, settings = PROGRAMS[name]
    torch = importlib.import_module(library)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        program = load(file, library)
        torch.manual_seed(0)
        models = program.build(**settings)
        for key, state in (weights or {}).items():
            tensors = {k: torch.tensor(v) for k, v in state.items()}
            models[key].load_state_dict(tensors)
        start = weights_of(models)
        with shared_masks(library):
            return program.run(models, steps), start
    finally:
        torch.set_default_dtype(before)


def gap(ours: list[Any], theirs: list[Any]) -> float:
    """The largest difference of losses, relative where they are above 1."""
    a, b = np.array(ours, np.float64), np.array(theirs, np.float64)
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))))


def compare(name: str, steps: int = 50) -> dict[str, float]:
    """The gaps of one program: in float64; in float32; of each library's float32 from float64."""
    import torch

    import minidl

    threads, own_threads = torch.get_num_threads(), minidl.get_num_threads()
    try:
        torch.set_num_threads(1)
        minidl.set_num_threads(1)  # two pools in one process hold each other up
        flat = {}
        for dtype in ("float64", "float32"):
            (theirs, told), start = run(name, "torch", dtype, steps)
            (ours, ours_told), _ = run(name, "minidl", dtype, steps, start)
            flat[dtype] = ours, theirs
            if dtype == "float64" and told != ours_told:
                raise AssertionError(f"{name}: PyTorch's run tells {told}, minidl's {ours_told}")
        (exact, _), _ = run(name, "torch", "float64", steps, start)
    finally:
        torch.set_num_threads(threads)
        minidl.set_num_threads(own_threads)
    ours, theirs = flat["float32"]
    return {
        "float64": gap(*flat["float64"]),
        "float32, 5 steps": gap(ours[:5], theirs[:5]),
        f"float32, {steps} steps": gap(ours, theirs),
        "float32 : float64": gap(ours, exact),
        "torch's float32 : float64": gap(theirs, exact),
    }


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks quality programs", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in PROGRAMS]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; there is {', '.join(PROGRAMS)}")
    head = True
    for name in args.names or PROGRAMS:
        row = compare(name, args.steps)
        if head:
            print("| program | " + " | ".join(row) + " |\n|---" + "|---:" * len(row) + "|")
            head = False
        cells = " | ".join(f"{value:.1e}" for value in row.values())
        print(f"| {name} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
