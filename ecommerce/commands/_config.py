"""Config files: TOML with the names of the options."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecommerce.commands._errors import UsageError, one_line


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"--config {path}: there is no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config {path}: not UTF-8 text; give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config {path}: not TOML ({one_line(error)})") from None
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror})") from None


def write(values: Mapping[str, Any]) -> str:
    """TOML of numbers, texts, truths, lists of them, and tables of one level; None is left out."""
    lines = [f"{_key(k)} = {_value(v)}" for k, v in values.items() if _is_plain(v)]
    for name, table in values.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{_key(name)}]"]
            lines += [f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None]
    return "\n".join(lines) + "\n"


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(str(value), ensure_ascii=True).replace("\x7f", "\\u007f")
