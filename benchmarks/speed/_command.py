"""python -m benchmarks speed: each workload with minidl and every installed peer, side by side.

Every library has a process of its own and the rounds alternate between them; same weights, same
batches, and the losses must agree. Each row is written to a JSON file in the results folder, and
from all files there a table, a plot and a page are made. Without a name: all workloads, three
other shapes of each kind (--drawn) and the time to the first step (--start).
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from benchmarks.alternate import versions
from benchmarks.speed import PROGRAMS, WORKLOADS, _report
from benchmarks.speed._bars import bars
from benchmarks.speed._measure import (
    LIBRARIES,
    Row,
    drawn_settings,
    make,
    measure,
    product_rate,
    starts,
)

SEED = 4  # of the draw of other shapes
SHAPES = 3


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    unknown = sorted({*args.names} - {*WORKLOADS, *PROGRAMS})
    if unknown:
        _parser().error(f"unknown: {' '.join(unknown)}; there is {', '.join(names())}")
    if not args.names and not args.smoke:
        args.start, args.drawn = True, SEED if args.drawn is None else args.drawn
    code, folder = 0, Path(args.out)
    if not args.report:
        rate = product_rate(2 if args.smoke else 8)
        for name in args.names or names():
            code = _run(name, args, rate, folder) or code
    if args.smoke:
        return code
    rows = _report.read(folder)
    if not rows:
        _parser().error(f"--report: no results in {folder}")
    _report.write(folder, rows)
    missed = [bar for bar in bars(rows) if not bar.met]
    if args.report or not args.names:
        print("\n".join(["", *_report.table(rows), "", *(bar.line() for bar in bars(rows))]))
    return code or int(args.require and bool(missed))


def names() -> list[str]:
    return [*WORKLOADS, *PROGRAMS]


def _run(name: str, args: argparse.Namespace, rate: float, folder: Path) -> int:
    """Measure one workload in its shapes; 1 where libraries disagree."""
    if name in PROGRAMS:
        program = importlib.import_module(f"benchmarks.speed.{name}")
        return program.main(["--smoke"] if args.smoke else []) or 0
    code = 0
    for label, settings in _shapes(name, args):
        libraries = args.libraries.split(",")
        row = measure(name, libraries, 2 if args.smoke else args.rounds, settings)
        row |= {"label": label, "drawn": label != name, "product_rate": rate}
        print("\n".join(lines(row)), flush=True)
        if args.start and label == name and name != "import":
            row["starts"] = starts(name, libraries, 3, settings)
            seconds = ", ".join(f"{k} {v:.2f} s" for k, v in row["starts"].items())
            print(f"{label:14s} first step of a new process: {seconds}", flush=True)
        code = code or int(not row["agree"])
        if not args.smoke:
            _keep(row, folder)
    return code


def _shapes(name: str, args: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    if args.smoke:
        return [(name, dict(getattr(make(name), "small", {})))]
    shapes: list[tuple[str, dict[str, Any]]] = [] if args.only_drawn else [(name, {})]
    if args.drawn is not None:
        for number in range(1, SHAPES + 1):
            settings = drawn_settings(name, args.drawn, number)
            if settings is not None:
                shapes.append((f"{name} {args.drawn}.{number}", settings))
    return shapes


def _keep(row: Row, folder: Path) -> None:
    """Write the row; what an earlier run found of other things (starts) stays."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{row['label'].replace(' ', '-')}.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    kept = {"starts": old["starts"]} if "starts" in old else {}
    path.write_text(json.dumps({**kept, **row, "versions": versions()}, indent=1))


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
    parser.add_argument("--start", action="store_true", help="time to the first step, too")
    parser.add_argument("--drawn", type=int, nargs="?", const=SEED, metavar="SEED",
                        help=f"{SHAPES} other shapes of each kind, too; seed {SEED} if not given")
    parser.add_argument("--only-drawn", action="store_true", help="leave out the listed shape")
    parser.add_argument("--out", default="runs/speed", help="results folder (%(default)s)")
    parser.add_argument("--report", action="store_true", help="measure nothing, only report")
    parser.add_argument("--require", action="store_true", help="exit code 1 if a bar is missed")
    parser.add_argument("--smoke", action="store_true", help="tiny shapes, two rounds: does it run")
    return parser
