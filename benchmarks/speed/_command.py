"""python -m benchmarks speed: each workload with minidl and every installed peer, side by side.

Every library has a process of its own and the rounds alternate between them; same weights, same
batches, and the losses must agree. Each row is written to a JSON file in the results folder, and
from all files there a table, a plot and a page are made.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from benchmarks.alternate import versions
from benchmarks.speed import PROGRAMS, WORKLOADS, _report
from benchmarks.speed._bars import bars, unmeasured
from benchmarks.speed._measure import (
    LIBRARIES,
    Row,
    drawn_settings,
    make,
    measure,
    product_rate,
    starts,
)

PARTS = ("listed", "drawn", "start")
SHAPES = 3  # drawn of each kind


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    unknown = sorted({*args.names} - {*WORKLOADS, *PROGRAMS})
    if unknown:
        _parser().error(f"unknown: {' '.join(unknown)}; there is {', '.join(names())}")
    if args.parts is None:
        args.parts = "listed" if args.names or args.smoke else ",".join(PARTS)
    args.parts = args.parts.split(",")
    if not {*args.parts} <= {*PARTS}:
        _parser().error(f"--parts {','.join(args.parts)}: choose from {','.join(PARTS)}")
    code, folder = 0, Path(args.out)
    if not args.report:
        rate = product_rate(2 if args.smoke else 8)
        for name in args.names or names():
            code = _run(name, args, rate, folder) or code
    if args.smoke:
        return code
    rows = _report.read(folder)
    if not rows and not args.report:
        return code
    if not rows:
        _parser().error(f"--report: no results in {folder}")
    _report.write(folder, rows)
    missed = [bar for bar in bars(rows) if not bar.met]
    if args.report or not args.names:
        print("\n".join(["", *_report.table(rows), "", *(bar.line() for bar in bars(rows))]))
    if args.require:
        absent = unmeasured(rows)
        if absent:
            print(f"not measured: {', '.join(absent)}")
        code = code or int(bool(missed or absent))
    return code


def names() -> list[str]:
    return [*WORKLOADS, *PROGRAMS]


def _run(name: str, args: argparse.Namespace, rate: float, folder: Path) -> int:
    """Measure one workload in its shapes; 1 where libraries disagree."""
    if name in PROGRAMS:
        program = importlib.import_module(f"benchmarks.speed.{name}")
        return program.main(["--smoke"] if args.smoke else []) or 0
    code, libraries = 0, args.libraries.split(",")
    for label, settings in _shapes(name, args):
        row = measure(name, libraries, 2 if args.smoke else args.rounds, settings)
        row |= {"label": label, "drawn": label != name, "product_rate": rate}
        print("\n".join(lines(row)), flush=True)
        code = code or int(not row["agree"])
        if not args.smoke:
            _keep({**row, "versions": versions()}, folder / f"{label.replace(' ', '-')}.json")
    if "start" in args.parts and name != "import":
        found = starts(name, libraries, 3, {})
        seconds = ", ".join(f"{what} {value:.2f} s" for what, value in found.items())
        print(f"{name:14s} first step of a new process: {seconds}", flush=True)
        _keep(found, folder / "starts" / f"{name}.json")
    return code


def _shapes(name: str, args: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    if args.smoke:
        return [(name, dict(getattr(make(name), "small", {})))]
    shapes: list[tuple[str, dict[str, Any]]] = [(name, {})] if "listed" in args.parts else []
    for number in range(1, SHAPES + 1 if "drawn" in args.parts else 1):
        settings = drawn_settings(name, args.seed, number)
        if settings is not None:
            shapes.append((f"{name} {args.seed}.{number}", settings))
    return shapes


def _keep(what: Row, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what, indent=1))


def lines(row: Row) -> list[str]:
    """What a person reads while it runs."""
    text = []
    for name, result in row["libraries"].items():
        per = result["median"] / row["units"]
        line = f"{row['label']:14s} {name:9s} {result['median'] * 1e3:9.3f} ms"
        line += f" best {min(result['times']) * 1e3:9.3f} spread {result['spread']:4.0%}"
        if name in row["memory"]:
            line += f" peak {row['memory'][name][0] / 2**20:5.0f} MiB"
        if per < 1e-4:
            line += f" {1 / per:12,.0f} {row['unit']}/s"
        for ours, ratios in row["ratios"].items():
            if name in ratios:
                line += f"   / {ours} {ratios[name]:5.2f}"
        text.append(line)
    text += [f"{row['label']:14s} {each} FAILED: {why}" for each, why in row["failed"].items()]
    if not row["agree"] and not row["failed"]:
        text.append(f"{row['label']:14s} THE LIBRARIES DISAGREE: {row['differences']}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks speed", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)}: the listed shape, {SHAPES} "
                        "drawn ones, the time to the first step; all, or listed if a NAME is given")
    parser.add_argument("--seed", type=int, default=4, help="of the draw (default: %(default)s)")
    parser.add_argument("--out", default="runs/speed", help="results folder (%(default)s)")
    parser.add_argument("--report", action="store_true", help="measure nothing, only report")
    parser.add_argument("--require", action="store_true", help="exit code 1 if a bar is missed")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, two rounds: does it run")
    return parser
