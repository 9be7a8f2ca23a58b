"""Bytes in and out: files are written whole or not at all, and errors are one line."""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


def read_bytes(f: Any) -> tuple[str, bytes]:
    """(name, content) of a path or a binary file object."""
    if hasattr(f, "read"):
        return str(getattr(f, "name", "the file object")), f.read()
    path = _path("load", f)
    if os.path.isdir(path):
        raise IsADirectoryError(f"load: {path} is a folder; give a file in it")
    try:
        return str(path), path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"load: there is no file {path}") from None
    except OSError as error:
        raise type(error)(f"load: {path} cannot be read: {error.strerror}") from None


def _path(what: str, f: Any) -> Path:
    if not isinstance(f, (str, os.PathLike)) or not isinstance(os.fspath(f), str):
        raise TypeError(f"{what}: a path or a binary file is needed, got {type(f).__name__}")
    if "\0" in os.fspath(f) or not os.fspath(f):
        raise ValueError(f"{what}: {os.fspath(f)!r} is no path")
    return Path(f)


def write_atomic(f: Any, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, fsync, rename, fsync.

    f: a path, or a binary file object, into which the bytes simply go.

    Raises OSError in one line naming the path; the old file, if any, is then as it was. A symbolic
    link stays one: what it points to is replaced.
    """
    if hasattr(f, "write"):
        f.write(data)
        return
    path = _path("save", f)
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        raise IsADirectoryError(f"save: {path} is a folder; give the name of a file in it")
    if not os.path.isdir(target.parent):
        raise FileNotFoundError(f"save: the folder {target.parent} does not exist; make it first")
    beside = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(beside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise type(error)(
            f"save: {path} cannot be written: {error.strerror or error}; "
            "choose a folder with room that you may write to"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power failure, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def leftovers(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Temporary files that killed processes left beside `path`."""
    target = Path(os.path.realpath(path))
    for file in target.parent.glob(f".{target.name}.*.tmp"):
        pid = file.name[len(target.name) + 2 :].split(".")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            yield file


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # no harmless way to ask
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
