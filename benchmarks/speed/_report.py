"""The results folder as a table in Markdown, a plot (PNG) and a page (HTML, one file)."""

from __future__ import annotations

import base64
import html
import io
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed import WORKLOADS
from benchmarks.speed._bars import bars, best_of_ours, floor_share
from benchmarks.speed._measure import LIBRARIES, OURS, Row

PEERS = [name for name in LIBRARIES if name not in OURS]
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1em 0}
td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.MISSED{color:#b00020}img{max-width:100%}"""


def read(folder: Path) -> list[Row]:
    """The rows of a results folder: listed shapes first, each kind in the list's order."""
    rows = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    for row in rows:
        starts = folder / "starts" / f"{row['workload']}.json"
        if starts.exists() and not row["drawn"]:
            row["starts"] = json.loads(starts.read_text())
    order = list(WORKLOADS)
    return sorted(rows, key=lambda r: (r["drawn"], order.index(r["workload"]), r["label"]))


def write(folder: Path, rows: list[Row]) -> None:
    """table.md, speed.html, and speed.png where matplotlib is installed."""
    (folder / "table.md").write_text("\n".join(table(rows)) + "\n")
    picture = plot(rows)
    if picture is None:
        print("no plot: it needs matplotlib (pip install 'minidl[bench]')", file=sys.stderr)
    else:
        (folder / "speed.png").write_bytes(picture)
    (folder / "speed.html").write_text(page(rows, picture))


def columns(row: Row) -> dict[str, str]:
    """The cells of a row by heading."""
    results = row["libraries"]
    cells = {"workload": row["label"]}
    for name in ("minidl", "captured", *PEERS):
        median, spread = (results.get(name, {}).get(key) for key in ("median", "spread"))
        cells[f"{name}, ms"] = f"{median * 1e3:.3g} ± {spread:.0%}" if median else ""
    for peer in PEERS:
        ratios = [f"{r[peer]:.2f}" for r in row["ratios"].values() if peer in r]
        cells[f"{peer} / ours"] = " · ".join(ratios)
    cells["floor, ms"] = cells["of floor"] = ""
    if row.get("flops") and row["ratios"]:
        cells["floor, ms"] = f"{row['flops'] / row['product_rate'] * 1e3:.3g}"
        cells["of floor"] = f"{floor_share(row):.0%}"
    for name in ("minidl", "torch"):
        peak, grown = (round(n / 2**20) for n in row["memory"].get(name, (0, 0)))
        cells[f"{name} peak, MiB"] = f"{peak} (+{grown})" if peak else ""
    for key in ("minidl", "minidl cold", "import torch"):
        seconds = row.get("starts", {}).get(key)
        label = {"minidl": "warm start, s", "minidl cold": "cold start, s"}.get(key, f"{key}, s")
        cells[label] = f"{seconds:.2f}" if seconds else ""
    return cells


def table(rows: list[Row]) -> list[str]:
    """Lines of Markdown; columns that are empty in all rows are left out."""
    cells = [columns(row) for row in rows]
    heads = [head for head in cells[0] if any(row[head] for row in cells)]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    lines += [[row[head] for head in heads] for row in cells]
    return ["| " + " | ".join(line) + " |" for line in lines]


def plot(rows: list[Row]) -> bytes | None:
    """Bars of peer's time / ours, on a logarithmic axis; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    rows = [row for row in rows if row["workload"] != "import" and any(row["ratios"].values())]
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    peers = [peer for peer in PEERS if any(peer in row["libraries"] for row in rows)]
    thick = 0.8 / max(1, len(peers))
    for n, peer in enumerate(peers):
        places, values = [], []
        for i, row in enumerate(rows):
            if peer in row["libraries"]:
                places.append(i + n * thick - 0.4 + thick / 2)
                values.append(best_of_ours(row, peer))
        bars_ = axes.barh(places, [v - 1 for v in values], thick, left=1, label=peer)
        axes.bar_label(bars_, [f"{v:.2f}" for v in values], fontsize=7, padding=2)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("time of the peer / time of minidl (right of 1: minidl is quicker)")
    if peers:
        axes.legend(loc="lower right", fontsize=8)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=130)
    return written.getvalue()


def page(rows: list[Row], picture: bytes | None) -> str:
    """One HTML file with plot, table and bars; nothing is fetched from elsewhere."""
    head, _, *body = ([cell.strip() for cell in line[1:-1].split("|")] for line in table(rows))
    verdicts = [
        [bar.number, bar.what, f"{bar.value:.3g}", f"{bar.sign} {bar.need:g}",
         "met" if bar.met else "MISSED"]
        for bar in bars(rows)
    ]  # fmt: skip
    image = ""
    if picture is not None:
        inside = base64.b64encode(picture).decode()
        image = f'<img alt="ratios" src="data:image/png;base64,{inside}">'
    versions = ", ".join(f"{name} {value}" for name, value in rows[0]["versions"].items())
    return "\n".join([
        "<!doctype html><html lang=en><meta charset=utf-8><title>minidl: speed</title>",
        f"<style>{STYLE}</style><h1>minidl beside its peers</h1>",
        "<p>Ratios are medians over rounds that alternate between one process a library; the "
        "first figure is eager minidl's, the second captured minidl's. ± is half the "
        "interquartile range. "
        f"Peak memory is the process's, in brackets what came after the imports. {versions}.</p>",
        image, _html_table(head, body),
        "<h2>Bars</h2>", _html_table(["bar", "what", "value", "needed", ""], verdicts), "</html>",
    ])  # fmt: skip


def _html_table(head: list[str], body: list[list[Any]]) -> str:
    def line(cells: list[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    rows = [line(cells, "td").replace("<td>MISSED", '<td class="MISSED">MISSED') for cells in body]
    return "<table>" + line(head, "th") + "".join(rows) + "</table>"
