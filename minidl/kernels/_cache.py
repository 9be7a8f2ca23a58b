"""Compiled kernels on disk: one file a kernel and signature, in a folder of our own.

Numba's own cache does not see an edit in another file, keeps an index that two processes can
overwrite for each other (numba #4807), fails on a truncated file and raises where no folder can be
written. Here

- the folder's name holds a hash of the minidl, Numba and Python versions and of how kernels are
  compiled; a file's name holds a hash of the signature, the processor, the flags, and the sources
  of the kernel and of all that it calls, wherever they stand: an edit elsewhere costs nothing;
- a file is written whole, then renamed, and starts with a checksum of itself: whatever cannot be
  loaded counts as absent, is deleted and compiled anew;
- folders are tried in this order: MINIDL_CACHE_DIR, the user's cache folder, a private folder in
  the temp folder; with none, kernels are compiled in each process and one warning says so.

Files hold machine code and are trusted as such, like Numba's: a folder in the shared temp folder
is used only if it belongs to this user and nobody else can write to it.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

_STALE_AFTER = 30 * 24 * 3600.0  # seconds; folders of older versions unused for so long are removed


def _user_cache() -> Path:
    """The folder where this system keeps the caches of programs."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _candidates() -> list[Path]:
    """Folders to try, best first."""
    found = []
    if os.environ.get("MINIDL_CACHE_DIR"):
        found.append(Path(os.environ["MINIDL_CACHE_DIR"]))
    with contextlib.suppress(RuntimeError):  # Path.home() found no home
        found.append(_user_cache() / "minidl")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    found.append(Path(tempfile.gettempdir()) / f"minidl-{user}")
    return found


def _is_private(folder: Path) -> bool:
    """True unless somebody else could have put files there."""
    if not hasattr(os, "getuid"):
        return True
    info = os.lstat(folder)
    others_write = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not others_write


def _version_stamp() -> str:
    """A hash of the versions and of the compiling code that made the machine code."""
    import numba

    minidl_version = getattr(sys.modules.get("minidl"), "__version__", "")
    state = hashlib.sha256()
    state.update(f"{minidl_version} {numba.__version__} {sys.version}".encode())
    for name in ("_cache.py", "_jit.py"):
        state.update(Path(__file__).with_name(name).read_bytes())
    return state.hexdigest()[:16]


@functools.cache
def folders() -> tuple[list[Path], Path | None]:
    """(folders to read from, folder to write to or None), found once a process."""
    name = f"kernels-{_version_stamp()}"
    readable: list[Path] = []
    for base in _candidates():
        folder = base / name
        in_temp = base.parent == Path(tempfile.gettempdir())
        try:
            new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if in_temp and not (_is_private(base) and _is_private(folder)):
                continue
            readable.append(folder)
            tempfile.TemporaryFile(dir=folder).close()  # is it writable?
        except OSError:
            continue
        os.utime(folder)
        if new:
            _remove_stale(base)
        return readable, folder
    _warn_uncached()
    return readable, None


def _remove_stale(base: Path) -> None:
    """Delete the folders of other versions that no process opened for a month."""
    for old in base.glob("kernels-*"):
        try:
            if time.time() - old.stat().st_mtime > _STALE_AFTER:
                for file in old.iterdir():
                    file.unlink()
                old.rmdir()
        except OSError:  # another process was quicker, or it is not ours
            continue


def _warn_uncached() -> None:
    text = (
        "minidl: no folder to keep compiled kernels in, so each process compiles its own; "
        "set MINIDL_CACHE_DIR to a folder that can be written"
    )
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    except RuntimeWarning:  # under -W error: a cache that is missing must not stop a computation
        print(text, file=sys.stderr)


class DiskCache:
    """The cache of one compiled function; has the methods that Numba's dispatcher calls."""

    def __init__(self, name: str, stamp: str):
        """`name`: of the function; `stamp`: a hash of everything its code is made from."""
        self._name = name
        self._stamp = stamp

    @property
    def cache_path(self) -> str | None:
        folder = folders()[1]
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for the signature, or None when it must be compiled."""
        from numba.core.compiler import CompileResult

        target_context.refresh()
        filename = self._filename(sig, target_context.codegen())
        for folder in folders()[0]:
            path = folder / filename
            try:
                content = path.read_bytes()
            except OSError:
                continue
            try:
                if hashlib.sha256(content[32:]).digest() != content[:32]:
                    raise ValueError("truncated")
                return CompileResult._rebuild(target_context, *pickle.loads(content[32:]))
            except Exception:  # whatever is wrong with a file, its kernel can be compiled
                _unlink(path)
        return None

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep a compiled function. Fails silently: the function itself is there."""
        from numba.core.serialize import dumps

        folder = folders()[1]
        if folder is None or result.lifted or result.library.has_dynamic_globals:
            return
        payload = dumps(result._reduce())
        part = folder / f"{uuid.uuid4().hex}.part"
        try:
            part.write_bytes(hashlib.sha256(payload).digest() + payload)
            os.replace(part, folder / self._filename(sig, result.codegen))
        except OSError:  # disk full, folder gone
            _unlink(part)

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def _filename(self, sig: Any, codegen: Any) -> str:
        key = repr((sig, codegen.magic_tuple(), self._stamp))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.bin"


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
