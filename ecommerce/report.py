"""One HTML file with tables and plots that opens without a network, and tables for the terminal."""

import base64
import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minidl

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
div.table{overflow-x:auto}
td.number,th.number{text-align:right} th{border-bottom:2px solid #888}
img{max-width:100%} p.note{color:#555} h1{margin-bottom:0}
</style></head><body><h1>{{ title }}</h1>
{% for section in sections %}<h2>{{ section.title }}</h2>
{% if section.text %}<p class="note">{{ section.text }}</p>{% endif %}
{% if section.columns and section.rows %}<div class="table"><table><thead><tr>
{% for name in section.columns %}
<th{% if numeric(section, loop.index0) %} class="number"{% endif %}>{{ name }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in section.rows %}<tr>
{% for cell in row %}<td{% if numeric(section, loop.index0) %} class="number"{% endif %}>
{{ shown(cell) }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>{% endif %}
{% if section.image %}
<img alt="{{ section.title }}" src="data:image/png;base64,{{ section.image }}">
{% endif %}{% endfor %}</body></html>
"""


@dataclass
class Section:
    """A part of a report: text, a table, a plot, or all three."""

    title: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    image: str = ""  # a PNG in base64


def plot(draw: Callable[[Any], None], width: float = 7.0, height: float = 3.5) -> str:
    """A PNG, in base64, of what `draw(axes)` draws with matplotlib. Sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    return base64.b64encode(png.getvalue()).decode()


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the HTML file, whole or not at all; returns its path."""
    from jinja2 import Environment

    def numeric(section: Section, column: int) -> bool:
        return bool(section.rows) and isinstance(section.rows[0][column], (int, float))

    page = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    html = page.render(title=title, sections=sections, numeric=numeric, shown=shown)
    write_whole(path, html.encode())
    return Path(path)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    minidl.io.write_atomic(path, content)


def shown(cell: Any) -> str:
    """A cell as text: four decimals for a float, thousands apart for a whole number."""
    if isinstance(cell, bool) or cell is None:
        return "" if cell is None else str(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return str(cell)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table for the terminal: words to the left, numbers to the right."""
    cells = [[str(name) for name in columns], *[[shown(cell) for cell in row] for row in rows]]
    widths = [max(columns_of(row[i]) for row in cells) for i in range(len(columns))]
    right = [bool(rows) and isinstance(rows[0][i], (int, float)) for i in range(len(columns))]
    lines = [
        "  ".join(_padded(c, w, r) for c, w, r in zip(row, widths, right)).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - columns_of(text))
    return space + text if right else text + space
