"""What the rows must show: the bars, and whether these rows meet them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.speed import WORKLOADS
from benchmarks.speed._measure import OURS, Row

BEST_PEERS = ("torch", "compiled", "jax")
GEMM_BOUND = ("mlp", "textcnn", "cnn28", "gru")
NOT_TRAINED = ("import", "top10")
COLD = 20.0  # seconds


class Bar(NamedTuple):
    number: str
    what: str
    value: float
    sign: str
    need: float

    @property
    def met(self) -> bool:
        return self.value >= self.need if self.sign == "≥" else self.value <= self.need

    def line(self) -> str:
        verdict = "met" if self.met else "MISSED"
        figures = f"{self.value:9.3g} {self.sign} {self.need:<6g}"
        return f"{self.number:4s} {self.what:58s} {figures} {verdict}"


def bars(rows: list[Row]) -> list[Bar]:
    wrong = [
        Bar("all", f"{row['label']}: nothing failed, equal losses", float(row["agree"]), "≥", 1.0)
        for row in rows if not row["agree"]
    ]  # fmt: skip
    rows = [row for row in rows if "minidl" in row["libraries"]]
    listed = [row for row in rows if not row["drawn"]]
    others = [row for row in rows if row["drawn"]]
    found = [*wrong, *against_torch("1", listed), *against_best("2", listed)]
    found += [*shop(listed), *floor(listed), *start(listed), *memory(listed)]
    return [*found, *against_torch("7/1", others), *against_best("7/2", others)]


def unmeasured(rows: list[Row]) -> list[str]:
    """Workloads without a listed shape beside torch, or without drawn ones: no bar is met."""
    seen = {row["label"] for row in rows if "torch" in row["libraries"]}
    drawn = {row["workload"] for row in rows if row["drawn"] and "torch" in row["libraries"]}
    absent = [name for name in WORKLOADS if name not in seen]
    return absent + [f"{name} (drawn)" for name in WORKLOADS if name not in {*drawn, "import"}]


def mean(values: Any) -> float:
    return statistics.geometric_mean(values)


def best_of_ours(row: Row, peer: str) -> float:
    """The peer's time over that of the quicker of eager and captured."""
    return max(row["ratios"][ours][peer] for ours in OURS if ours in row["ratios"])


def best_peer(row: Row) -> float:
    """The quickest peer's time over ours, the quicker of eager and captured."""
    return min(best_of_ours(row, peer) for peer in BEST_PEERS if peer in row["libraries"])


def against_torch(number: str, rows: list[Row]) -> Iterator[Bar]:
    rows = [row for row in rows if "torch" in row["libraries"] and row["workload"] != "import"]
    for row in rows:
        label = row["label"]
        eager = row["ratios"]["minidl"]["torch"]
        yield Bar(number, f"{label}: torch eager / minidl eager", eager, "≥", 1.0)
        yield Bar(number, f"{label}: torch eager / ours", best_of_ours(row, "torch"), "≥", 1.2)
    if rows:
        value = mean(best_of_ours(row, "torch") for row in rows)
        yield Bar(number, "geometric mean: torch eager / ours", value, "≥", 2.0)


def against_best(number: str, rows: list[Row]) -> Iterator[Bar]:
    rows = [
        row for row in rows
        if row["workload"] != "import" and any(peer in row["libraries"] for peer in BEST_PEERS)
    ]  # fmt: skip
    for row in rows:
        yield Bar(number, f"{row['label']}: best peer / ours", best_peer(row), "≥", 1.0)
    if rows:
        yield Bar(number, "geometric mean: best peer / ours", mean(map(best_peer, rows)), "≥", 1.5)


def shop(rows: list[Row]) -> Iterator[Bar]:
    for row in rows:
        if row["workload"] == "bpr" and "implicit" in row["libraries"]:
            value = best_of_ours(row, "implicit")
            yield Bar("3", "bpr: implicit / ours, time of an epoch", value, "≥", 1.0)
        if row["workload"] == "top10":
            value = row["units"] / row["libraries"]["minidl"]["median"]
            yield Bar("3", "top10: users a second", value, "≥", 40_000)


def floor(rows: list[Row]) -> Iterator[Bar]:
    for row in rows:
        if row["workload"] in GEMM_BOUND and row.get("product_rate"):
            what = f"{row['label']}: share of the products' rate"
            yield Bar("4", what, floor_share(row), "≥", 0.5)


def floor_share(row: Row) -> float:
    """Time that the step's products need at the machine's rate, over our step's time."""
    ours = min(row["libraries"][each]["median"] for each in OURS if each in row["libraries"])
    return row["flops"] / row["product_rate"] / ours


def start(rows: list[Row]) -> Iterator[Bar]:
    for row in rows:
        times = row.get("starts", {})
        if "import torch" in times and row["workload"] not in NOT_TRAINED:
            value = times["import torch"] / times["minidl"]
            yield Bar("5", f"{row['label']}: import torch / warm first step", value, "≥", 1.0)
        if "minidl cold" in times:
            yield Bar("5", f"{row['label']}: cold first step, s", times["minidl cold"], "≤", COLD)


def memory(rows: list[Row]) -> Iterator[Bar]:
    for row in rows:
        peak = row["memory"]
        if "torch" in peak:
            value = peak["minidl"][0] / peak["torch"][0]
            yield Bar("6", f"{row['label']}: peak memory, ours / torch's", value, "≤", 1.0)
