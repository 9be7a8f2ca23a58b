"""Reports: one file that opens offline; tables for the terminal; files written whole."""

import base64
import re

import pytest

from ecommerce.report import Section, plot, shown, text_table, write_report, write_whole


def test_report_holds_tables_and_plots(tmp_path):
    image = plot(lambda axes: axes.plot([1, 2, 3]))
    sections = [
        Section("Models", "Some <b>words</b>.", ["model", "n"], [["A & B", 0.5], ["C", 0.25]],
                image),
        Section("Nothing", columns=["a"], rows=[]),
    ]  # fmt: skip
    html = write_report(tmp_path / "deep/er/report.html", "Run", sections).read_text()
    assert "http" not in html
    assert "Some &lt;b&gt;words&lt;/b&gt;" in html
    assert "A &amp; B" in html
    assert html.count("<table>") == 1
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", html)
    assert base64.b64decode(found[1]).startswith(b"\x89PNG")
    assert [p.name for p in (tmp_path / "deep/er").iterdir()] == ["report.html"]


def test_a_plot_is_the_same_every_time():
    assert plot(lambda axes: axes.bar([1], [2])) == plot(lambda axes: axes.bar([1], [2]))


def test_table_for_the_terminal():
    lines = text_table(["name", "n", "share"], [["中文", 1200, 0.5], ["b", 7, 0.25]]).splitlines()
    assert lines == [
        "name      n   share",
        "----  -----  ------",
        "中文  1,200  0.5000",
        "b         7  0.2500",
    ]
    assert text_table(["a"], []).splitlines() == ["a", "-"]


def test_cells():
    cells = (True, None, 1234, 0.12345, "x")
    assert [shown(cell) for cell in cells] == ["True", "", "1,234", "0.1235", "x"]


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="cannot be written"):
        write_whole(tmp_path / "file/report.html", b"new")
    assert (tmp_path / "file").read_text() == "old"
