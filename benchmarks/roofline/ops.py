"""Each op: time, bytes, FLOPs, and the share of what this machine could do.

    python -m benchmarks ops [NAME ...] [--smoke] [--json FILE]
    python -m benchmarks ops bar4          the memory-bound four against a copy; or one of them:
                                           bar4-layernorm, bar4-softmax, bar4-dropout, bar4-adam

Sizes are working sets (all that forward reads and writes) that fit the second cache, the third,
and neither. Bytes and FLOPs are what the op's class counts; `share` is the least time that the
machine needs for them (a copy of as many bytes, or a float32 product of as many FLOPs) over the
time taken. Results are new arrays, as in an eager program; from some MiB on their first touch
(page faults) costs as much as the work itself.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternate import versions
from benchmarks.roofline import bar4
from benchmarks.roofline.machine import SIZES, Roof
from benchmarks.roofline.op_inputs import inputs
from minidl.describe.code import samplers
from minidl.describe.watch import Call, measured
from minidl.ops._op import REGISTRY

_LONG = 2.0  # seconds; a larger size that would take longer is left out


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ops", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops, or bar4; without: all")
    parser.add_argument("--smoke", action="store_true", help="small and once, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args(argv)
    samplers()  # loads every op
    names = {name.lower(): name for name in REGISTRY if not REGISTRY[name].view}
    four = [name for name in args.names if name in bar4.NAMES]
    asked = [name for name in args.names if name not in four]
    unknown = [name for name in asked if name.lower() not in names]
    if unknown:
        parser.error(f"no op is called {', '.join(unknown)}; there is bar4, {', '.join(names)}")
    sizes = {"L2": 1 << 16} if args.smoke else SIZES
    roof = Roof(sizes, 1 if args.smoke else 7)
    print(roof)
    found: dict[str, Any] = {"versions": versions(), "machine": roof.as_dict()}
    if four or not asked:
        rounds, four_sizes = (1, {"512 KiB": 1 << 19}) if args.smoke else (7, bar4.SIZES)
        found["bar 4"] = bar4.measure(rounds, four_sizes, four)
        print(bar4.text(found["bar 4"]))
    if asked or not four:
        chosen = [names[name.lower()] for name in asked] or sorted(names.values())
        budget = 0.0 if args.smoke else 0.1
        print(_HEAD)
        found["ops"] = [row for name in chosen for row in rows_of(name, sizes, budget, roof)]
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


def rows_of(name: str, sizes: dict[str, int], budget: float, roof: Roof) -> list[dict[str, Any]]:
    """Measure an op at each size, and print as it goes."""
    rows: list[dict[str, Any]] = []
    last = (0.0, 1)
    for label, size in sizes.items():
        if last[0] * size / last[1] > _LONG:
            continue
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # values of tests, many times over: sums overflow
            call = inputs(name, size)
            if call is None:
                continue
            times = measured(call, budget)
        last = max(t or 0.0 for t in times), size
        for way, seconds in zip(("forward", "backward"), times):
            if seconds is not None:
                rows.append(row_of(call, way, seconds, label, roof))
                print(_line(rows[-1]), flush=True)
    return rows


def row_of(call: Call, way: str, seconds: float, label: str, roof: Roof) -> dict[str, Any]:
    op, arrays, settings = call
    kept = [a for a in arrays if isinstance(a, np.ndarray)]
    shapes = [np.shape(a) for a in arrays]
    if way == "forward":
        size, flops = op.bytes(*kept), op.flops(*shapes, **settings)
    else:
        size, flops = op.bytes_backward(*kept), op.flops_backward(*shapes, **settings)
    least, bound = roof.seconds(int(size), int(flops), label)
    return {
        "op": op.__name__,
        "way": way,
        "set": label,
        "shapes": shapes,
        "seconds": seconds,
        "bytes": int(size),
        "flops": int(flops),
        "share": least / seconds,
        "bound": bound,
    }


_HEAD = (
    f"{'op':26} {'way':8} {'set':6} {'ms':>9} {'MB':>8} {'GB/s':>6} {'MFLOP':>9} {'GFLOP/s':>8} "
    f"{'share':>6}  bound by"
)


def _line(row: dict[str, Any]) -> str:
    seconds = row["seconds"]
    return (
        f"{row['op']:26} {row['way']:8} {row['set']:6} {seconds * 1e3:9.3f} "
        f"{row['bytes'] / 1e6:8.2f} {row['bytes'] / seconds / 1e9:6.1f} "
        f"{row['flops'] / 1e6:9.2f} {row['flops'] / seconds / 1e9:8.2f} {row['share']:6.0%}  "
        f"{row['bound']}"
    )


if __name__ == "__main__":
    sys.exit(main())
