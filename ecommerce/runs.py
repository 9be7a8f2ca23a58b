"""Run folders: everything about one run in one place, there whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CONFIG, METRICS, MODEL, LOG, REPORT, TITLES, PROTOCOL = (
    "config.toml", "metrics.json", "model.ecm", "log.jsonl", "report.html", "titles.json",
    "protocol.json",
)  # fmt: skip


class NewRun:
    """A run folder that is being written: `with NewRun(path) as run: ...`.

    Files go to a hidden folder beside `path`, which takes its name when the block ends; after an
    error or Ctrl-C it is removed. An existing folder is refused, or replaced with overwrite=True.

    Raises FileExistsError, or OSError where nothing can be written: before any work is done.
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False):
        self.path = Path(path)
        self.overwrite = overwrite
        self._started = time.time()

    def __enter__(self) -> Self:
        if self.path.exists() and not self.overwrite:
            raise FileExistsError(
                f"{self.path} is there already; choose another --out, or add --overwrite"
            )
        if self.path.exists() and not (self.path / LOG).is_file():
            raise FileExistsError(
                f"{self.path} is not a run folder, so it is not overwritten; choose another --out"
            )
        # Which of the folders above are ours to remove if the run fails.
        self._made = [p for p in self.path.parents if not p.exists()]
        self._partial = self.path.parent / f".{self.path.name}.{secrets.token_hex(4)}.partial"
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            self._remove()
            raise OSError(
                f"{self.path}: cannot be written ({error.strerror or error}); "
                "choose another folder with --out"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._remove()
            return
        self.log("done", seconds=round(time.time() - self._started, 3))
        old = self.path.with_name(f"{self._partial.name}.old")
        if self.path.exists():
            os.rename(self.path, old)
        os.rename(self._partial, self.path)
        shutil.rmtree(old, ignore_errors=True)

    def _remove(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:
                break  # not there, or somebody else's files are in it

    def file(self, name: str) -> Path:
        """Where a file of the run is written while the run is going on."""
        return self._partial / name

    def write(self, name: str, content: str) -> None:
        self.file(name).write_text(content, encoding="utf-8")

    def write_json(self, name: str, content: Any) -> None:
        """JSON without NaN: what is not finite becomes null."""
        text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        self.write(name, text + "\n")

    def log(self, event: str, **fields: Any) -> None:
        """A line of log.jsonl: seconds since the start, the event, and what belongs to it."""
        line = {"seconds": round(time.time() - self._started, 3), "event": event, **fields}
        with open(self.file(LOG), "a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")


class Run:
    """A finished run folder.

    Raises FileNotFoundError where there is none, ValueError where a file of it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"{self.path}: no such run folder; `train` and `reviews` print the one they write"
            )
        text = self._text(CONFIG)
        try:
            self.config: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{self.path / CONFIG}: damaged ({error}); run again") from None

    @property
    def model_file(self) -> Path:
        return self.path / MODEL

    @property
    def metrics(self) -> dict[str, Any]:
        return self._json(METRICS)

    @property
    def titles(self) -> dict[str, str]:
        """Item id -> title; empty where the run was given none."""
        return self._json(TITLES) if (self.path / TITLES).is_file() else {}

    def _text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.path}: not a run folder (it has no {name}); give one that `train` or "
                "`reviews` wrote"
            ) from None
        except UnicodeDecodeError:
            raise ValueError(f"{self.path / name}: damaged (not text); run again") from None

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self._text(name))
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.path / name}: damaged ({error}); run again") from None
        if not isinstance(found, dict):
            raise ValueError(f"{self.path / name}: damaged (no JSON object); run again")
        return found


def finite(value: Any) -> Any:
    """The same with NaN and infinity as None, and NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    if hasattr(value, "tolist"):
        return finite(value.tolist())
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def default_path(name: str) -> Path:
    """runs/<time>-<name>, one that is free."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path, number = Path("runs") / f"{stamp}-{name}", 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{stamp}-{name}-{number}"
    return path
