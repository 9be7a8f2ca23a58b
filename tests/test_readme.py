"""The README's code runs as it stands, and its numbers have a command beside them."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("code", BLOCKS, ids=[block.strip().split("\n")[0] for block in BLOCKS])
def test_code_runs(code):
    assert "import" in code
    exec(compile(code, "README.md", "exec"), {})


def test_the_two_commands_stand_first():
    first = README.split("```")[1]
    assert 'pip install -e ".[shop]" && python -m ecommerce demo' in first
    assert 'pip install -e ".[test]" && pytest' in first


def test_each_measured_figure_has_its_command():
    table = README.split("## Measured")[1]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    for row in rows:
        assert re.search(r"`(python|pytest|MINIDL)", row), f"no command in {row}"
