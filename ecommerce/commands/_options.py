"""Options: one table from which the command line, the config file and the checks come."""

from __future__ import annotations

import argparse
import codecs
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ecommerce.commands import _config
from ecommerce.commands._errors import UsageError, nearest

Kind = Callable[[Any], Any]


@dataclass(frozen=True)
class Option:
    """`--name`, and the key `name` of a config file. kind turns what was given into the value."""

    name: str
    kind: Kind
    default: Any
    help: str
    metavar: str = ""
    config: bool = True  # may stand in a config file

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


@dataclass
class Settings:
    """The values of a command: default, then config file, then command line."""

    command: str
    values: dict[str, Any]
    given: set[str] = field(default_factory=set)  # not by default

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def stored(self, options: Sequence[Option]) -> dict[str, Any]:
        """What a config file must hold to run the command again."""
        kept = {o.name: self.values[o.name] for o in options if o.config and o.name != "out"}
        return {"command": self.command, **{k: v for k, v in kept.items() if v not in (None, {})}}


# ------------------------------------------------------------------ kinds


def text(value: Any) -> str:
    if isinstance(value, (dict, list, bool)) or not str(value).strip():
        raise ValueError("give some text")
    return str(value)


def any_text(value: Any) -> str:
    """Text that may be empty: a query, a history."""
    return str(value)


def codec(value: Any) -> str:
    """The name of a text encoding."""
    try:
        return codecs.lookup(text(value)).name
    except LookupError:
        raise ValueError("no such encoding; known are utf-8, latin-1, gb18030, ...") from None


def switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def whole(low: int = 0) -> Kind:
    def parse(value: Any) -> int:
        try:
            number = int(value) if not isinstance(value, (float, bool)) else None
        except (TypeError, ValueError):
            number = None
        if number is None or number < low:
            raise ValueError(f"give a whole number of {low} or more")
        return number

    return parse


def number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError("give a number")
    return found


def share(value: Any) -> float:
    try:
        found = number(value)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise ValueError("give a share from 0 to below 1, such as .25")
    return found


def amount(value: Any) -> int | float:
    """A share such as .25, or a whole number of rows."""
    text = str(value).strip()
    if text.isdigit() and not isinstance(value, float):
        return int(text)
    try:
        return share(value)
    except ValueError:
        raise ValueError("give a share below 1, such as .25, or a whole number of rows") from None


def one_of(*allowed: str) -> Kind:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"not known{nearest(str(value), allowed)}")
        return str(value)

    return parse


def list_of(kind: Kind, least: int = 1) -> Kind:
    """Values with commas between, or a list of a config file."""

    def parse(value: Any) -> list[Any]:
        parts = value if isinstance(value, list) else str(value).split(",")
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        found = [kind(part) for part in parts if part != ""]
        if len(found) < least:
            raise ValueError(f"give {least} or more, with commas between")
        return found

    return parse


def requirements(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [" ".join(str(part).split()) for part in parts]


def pairs(value: Any) -> dict[str, Any]:
    """A table of a config file, or a list of "name=value" of the command line."""
    if isinstance(value, dict):
        return value
    found = {}
    for part in value if isinstance(value, list) else [value]:
        name, equals, given = str(part).partition("=")
        if not equals or not name.strip() or not given.strip():
            raise ValueError(f"{part!r} is not name=value, such as dim=64")
        found[name.strip()] = literal(given.strip())
    return found


def literal(given: str) -> Any:
    """64, 0.5, true, none, [1, 2] as what they say; anything else is text."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if given.lower() in words:
        return words[given.lower()]
    try:
        found = json.loads(given if not given.startswith(".") else "0" + given)
    except ValueError:
        try:
            found = float(given)
        except ValueError:
            return given
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError(f"{given} is not a finite number")
    return found


# ------------------------------------------------------------------ the parser


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, and what was probably meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def build(prog: str, about: str, example: str, options: Sequence[Option]) -> _Parser:
    parser = _Parser(
        prog=prog, description=about, epilog=f"example:\n  {example}", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in options:
        shown = "" if option.default in (None, False, {}, []) else f" (default {_words(option)})"
        more: dict[str, Any] = {"help": option.help.replace("%", "%%") + shown}
        if option.kind is switch:
            more["action"] = argparse.BooleanOptionalAction
        elif option.kind in (pairs, requirements):
            more.update(action="append", metavar=option.metavar or "NAME=VALUE")
        else:
            more["metavar"] = option.metavar or option.name.upper()
        parser.add_argument(option.flag, dest=option.name, default=argparse.SUPPRESS, **more)
    parser.add_argument("--config", metavar="TOML", help="a file with the same names; see README")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _words(option: Option) -> str:
    value = option.default
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def read(
    command: str, parser: _Parser, options: Sequence[Option], argv: Sequence[str]
) -> Settings:
    """Settings from a command line and the config file that it names."""
    known, unknown = parser.parse_known_args(list(argv))
    if unknown:
        name = unknown[0].split("=")[0]
        flags = [option.flag for option in options] + ["--config", "--debug"]
        hint = nearest(name, flags) if name.startswith("-") else ""
        raise UsageError(f"{command}: {unknown[0]} is not known here{hint}")
    values = {option.name: option.default for option in options}
    given: set[str] = set()
    by_name = {option.name: option for option in options}
    for name, value, where in _sources(command, known, by_name):
        try:
            parsed = by_name[name].kind(value)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
        both = isinstance(parsed, dict) and isinstance(values[name], dict)
        values[name] = {**values[name], **parsed} if both else parsed
        given.add(name)
    return Settings(command, values, given)


def _sources(
    command: str, known: argparse.Namespace, by_name: dict[str, Option]
) -> Iterator[tuple[str, Any, str]]:
    """(name, value, where it stands) of the config file, then of the command line."""
    if known.config is not None:
        path = Path(known.config)
        table = _config.read(path)
        written_for = table.pop("command", command)
        if written_for != command:
            raise UsageError(f"{path} is a config of {written_for!r}, not of {command!r}")
        allowed = [option.name for option in by_name.values() if option.config]
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in allowed:
                raise UsageError(f"{path}: unknown key {key!r}{nearest(key, allowed)}")
            yield name, value, f"{path}: {key} = {value!r}"
    for name, option in by_name.items():
        if hasattr(known, name):
            value = getattr(known, name)
            shown = " ".join(value) if isinstance(value, list) else value
            yield name, value, f"{option.flag} {shown if str(shown).strip() else repr(shown)}"


def say(*lines: object) -> None:
    """To standard error, which is not part of a table that is piped on."""
    print(*lines, file=sys.stderr, flush=True)
