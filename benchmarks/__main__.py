"""python -m benchmarks: what is measured, and the command of each.

    python -m benchmarks speed [NAME ...] [options]     ours and each installed peer, side by side
    python -m benchmarks quality NAME [options]         a model on a named public data set
    python -m benchmarks ops [NAME ...] [--smoke]       each op: time, bytes, FLOPs, roofline
    python -m benchmarks kernels [NAME ...] [--smoke]   each compiled kernel against its reference

Without a name, `speed` runs all; `speed --smoke`: a few rounds, to see that they run (CI does).
"""

import argparse
import importlib
import pkgutil
import sys

from benchmarks import quality
from benchmarks.speed import _command


def names_in(package) -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def main(argv: list[str] | None = None) -> int:
    """Run what is named; its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("speed", help="side by side with the installed peers", add_help=False)
    figures = kinds.add_parser("quality", help="figures on public data", add_help=False)
    figures.add_argument("name", choices=names_in(quality))
    for name in ("ops", "kernels"):
        kinds.add_parser(name, help=f"{name} against this machine's limits", add_help=False)
    args, rest = parser.parse_known_args(argv)
    if args.kind == "speed":
        return _command.main(rest)
    if args.kind in ("ops", "kernels"):
        return importlib.import_module(f"benchmarks.roofline.{args.kind}").main(rest) or 0
    return importlib.import_module(f"benchmarks.quality.{args.name}").main(rest) or 0


if __name__ == "__main__":
    sys.exit(main())
