"""The command line: python -m ecommerce demo | train | evaluate | recommend | similar | reviews |
warmup.

Exit codes: 0 done; 1 a bar of --require was missed; 2 the command line or config file is wrong;
3 the data, an id or a model cannot be used; 130 interrupted; 70 an error in this package.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from ecommerce.commands import _errors
from ecommerce.commands._errors import BadData, UsageError, nearest, one_line

COMMANDS = {
    "demo": ("demo", "a generated shop: clean, train, compare, recommend, reviews, report"),
    "train": ("train", "fit a model, measure it beside baselines, write a run folder"),
    "evaluate": ("evaluate", "measure a saved model again, or on other data"),
    "recommend": ("recommend", "products for users, or for someone's history"),
    "similar": ("recommend", "products most like one"),
    "reviews": ("reviews", "learn sentiment from reviews, find similar comments, read new ones"),
    "warmup": ("warmup", "compile the models' kernels beforehand, once on a machine"),
}

SHOP = ("pandas", "pyarrow", "tqdm", "matplotlib", "jinja2")  # the extra "shop"
PROG = "python -m ecommerce"
USAGE = f"""usage: {PROG} COMMAND [options]

{{commands}}

{PROG} COMMAND --help shows a command's options and an example.
Start with:  {PROG} demo
Exit codes: 0 done, 1 a bar of --require missed, 2 wrong usage, 3 bad data."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises for what a user can get wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            return _run(words)
        except SystemExit as asked:  # argparse's --help
            return int(asked.code or 0)
        except KeyboardInterrupt:
            print("interrupted; nothing was written", file=sys.stderr)
            return _errors.INTERRUPTED
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _errors.DONE
        except Exception as error:
            if debug:
                traceback.print_exc()
            code, text = _explained(error)
            print(f"error: {text}", file=sys.stderr)
            return code


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        lines = [f"  {name:<10} {about}" for name, (_, about) in COMMANDS.items()]
        print(USAGE.format(commands="\n".join(lines)))
        return _errors.DONE if words else _errors.USAGE
    if words[0] == "--version":
        import minidl

        print(f"ecommerce {minidl.__version__}")
        return _errors.DONE
    if words[0] not in COMMANDS:
        raise UsageError(f"{words[0]!r} is no command{nearest(words[0], COMMANDS)}")
    name = words[0]
    module: Any = importlib.import_module(f"ecommerce.commands.{COMMANDS[name][0]}")
    return module.run(name, words[1:])


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and one line for an exception."""
    if isinstance(error, UsageError):
        return _errors.USAGE, one_line(error)
    if isinstance(error, (BadData, ValueError, FileNotFoundError)):  # DataError is a ValueError
        return _errors.BAD_DATA, one_line(error)
    if isinstance(error, ModuleNotFoundError) and error.name in SHOP:
        return _errors.USAGE, f"{error.name} is not installed; pip install 'minidl[shop]'"
    if isinstance(error, OSError):
        return _errors.USAGE, one_line(error)
    if isinstance(error, (MemoryError, OverflowError, FloatingPointError)):
        return _errors.BAD_DATA, f"{type(error).__name__}: {one_line(error)}; try less data"
    return _errors.BUG, (
        f"{type(error).__name__}: {one_line(error)} (this is a fault of the package; "
        "run again with --debug and report it)"
    )


def _show_warning(message: Any, *_: Any) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)
