"""Benchmarks run: what `python -m benchmarks` relies on."""

import importlib
import inspect

import pytest

from benchmarks import __main__, quality
from benchmarks.speed import PROGRAMS

MODULES = [
    *(f"benchmarks.speed.{name}" for name in PROGRAMS),
    *(f"benchmarks.quality.{name}" for name in __main__.names_in(quality)),
]


@pytest.mark.parametrize("module", MODULES)
def test_main_takes_arguments(module):
    main = importlib.import_module(module).main
    inspect.signature(main).bind(["--smoke"])


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["speed", "sparse_stap"])
    assert "sparse_step" in capsys.readouterr().err
