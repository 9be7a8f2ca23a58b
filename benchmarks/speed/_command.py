"""The command `python -m benchmarks speed`."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from benchmarks.alternate import alternate, ratio, versions
from benchmarks.speed import PROGRAMS, WORKLOADS

LIBRARIES = ("minidl", "captured", "torch", "implicit", "numpy")
FIRST, CURVE = 1e-4, 1e-3  # relative differences that float32 may make: first loss, later losses


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    unknown = set(args.names) - {*WORKLOADS, *PROGRAMS}
    if unknown:
        _parser().error(f"unknown: {' '.join(unknown)}; there is {', '.join(names())}")
    libraries = args.libraries.split(",")
    rows, code = [], 0
    for name in args.names or names():
        if name in PROGRAMS:
            program = importlib.import_module(f"benchmarks.speed.{name}")
            code = code or program.main(["--smoke"] if args.smoke else []) or 0
            continue
        rounds = 2 if args.smoke else args.rounds
        row = measure(name, libraries, rounds)
        print("\n".join(lines(row)), flush=True)
        rows.append(row)
        code = code or int(not row["agree"])
    if args.out and rows:
        path = Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"versions": versions(), "rows": rows}, indent=1))
    return code


def names() -> list[str]:
    return [*WORKLOADS, *PROGRAMS]


def measure(name: str, libraries: list[str], rounds: int, **settings: Any) -> dict[str, Any]:
    """One workload with every library that has it and is installed."""
    target = WORKLOADS[name]
    module, _, kind = target.partition(":")
    work = getattr(importlib.import_module(module), kind)(**settings)
    having = [each for each in libraries if hasattr(work, each)]
    rounds = min(rounds, getattr(work, "most_rounds", rounds))
    results = alternate(target, having, rounds, **settings)
    row: dict[str, Any] = {"workload": name, "settings": settings, "libraries": results}
    row["unit"], row["units"] = getattr(work, "unit", "steps"), getattr(work, "units", 1)
    if hasattr(work, "flops"):
        row["flops"] = work.flops()
    row["ratios"] = {
        ours: {peer: ratio(results, peer, ours) for peer in results if peer != ours}
        for ours in ("minidl", "captured")
        if ours in results
    }
    row["differences"] = differences(results) if getattr(work, "checked", True) else {}
    row["agree"] = all(a <= FIRST and b <= CURVE for a, b in row["differences"].values())
    return row


def differences(results: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Relative difference from minidl's of each library: (first loss, largest of the curve)."""
    if "minidl" not in results:
        return {}
    ours = results["minidl"]["curve"]
    found = {}
    for name, result in results.items():
        off = [abs(a - b) / max(abs(b), 1e-12) for a, b in zip(result["curve"], ours)]
        found[name] = (off[0], max(off))
    return found


def lines(row: dict[str, Any]) -> list[str]:
    """What a person reads while it runs."""
    text = []
    for name, result in row["libraries"].items():
        per = result["median"] / row["units"]
        rate = f"{row['units'] / result['median']:12,.0f} {row['unit']}/s" if per < 1e-4 else ""
        line = f"{row['workload']:11s} {name:9s} {result['median'] * 1e3:9.3f} ms"
        line += f" best {min(result['times']) * 1e3:9.3f} spread {result['spread']:4.0%}{rate}"
        if name != "minidl" and "minidl" in row["ratios"]:
            line += f"   / minidl {row['ratios']['minidl'][name]:5.2f}"
        if name not in ("minidl", "captured") and "captured" in row["ratios"]:
            line += f"   / captured {row['ratios']['captured'][name]:5.2f}"
        text.append(line)
    if not row["agree"]:
        text.append(f"{row['workload']:11s} THE LIBRARIES DISAGREE: {row['differences']}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="two rounds, to see that they run")
    parser.add_argument("--out", help="write the results to this JSON file")
    return parser
