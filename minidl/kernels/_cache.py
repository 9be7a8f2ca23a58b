"""Compiled kernels on disk: one file a kernel and signature, in a folder of our own.

Numba's own cache does not see an edit in another file, keeps an index that two processes can
overwrite for each other (numba #4807), fails on a truncated file and raises where no folder can be
written. Here

- the folder's name holds a hash of the versions of Numba, LLVM and Python and of how kernels are
  compiled; a file's name holds a hash of the signature, the processor, the flags, and the code of
  the kernel and of all that it calls, wherever they stand: an edit elsewhere, of a comment, or a
  new version of minidl costs nothing;
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

_STALE_AFTER = 30 * 24 * 3600.0  # seconds; what other versions left is removed after so long


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
    """A hash of the versions and of the compiling code that made the machine code.

    minidl's own version is not among them: what matters of it is in each kernel's stamp.
    """
    import llvmlite
    import numba

    state = hashlib.sha256()
    tag = sys.implementation.cache_tag  # as of .pyc files: the same for 3.11.1 and 3.11.2
    state.update(f"{numba.__version__} {llvmlite.__version__} {tag}".encode())
    for name in ("_cache.py", "_emission.py", "_jit.py"):
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
            if _is_stale(old):
                for file in old.iterdir():
                    file.unlink()
                old.rmdir()
        except OSError:  # another process was quicker, or it is not ours
            continue


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _STALE_AFTER
    except OSError:
        return False


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
    """The cache of one compiled function; has the methods that Numba's dispatcher calls.

    `shared`: the function is called by compiled code, which refers to it by its symbol. Numba would
    copy its code into each caller and compile it there once more: most of the time that kernels
    took to compile. So a caller's file names the files whose symbols it needs.
    """

    def __init__(self, name: str, stamp: str, shared: bool = False):
        """`name`: of the function; `stamp`: a hash of everything its code is made from."""
        self._name = name
        self._stamp = stamp
        self._shared = shared

    @property
    def cache_path(self) -> str | None:
        folder = folders()[1]
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for the signature, or None when it must be compiled."""
        return _load(self._filename(sig, target_context.codegen()), target_context, self._shared)

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep a compiled function. Fails silently: the function itself is there."""
        from numba.core.serialize import dumps

        filename = self._filename(sig, result.codegen)
        if self._shared:
            _keep(filename, result)
        folder = folders()[1]
        if folder is None or result.lifted or result.library.has_dynamic_globals:
            return
        names = [f.name for f in result.library._final_module.functions if f.is_declaration]
        called = [(_FILE_OF[name], name) for name in names if name in _FILE_OF]
        others = [n for n in names if n not in _FILE_OF and not n.startswith("llvm.")]
        payload = dumps((called, others, result._reduce()))
        part = folder / f"{uuid.uuid4().hex}.part"
        try:
            part.write_bytes(hashlib.sha256(payload).digest() + payload)
            os.replace(part, folder / filename)
        except OSError:  # disk full, folder gone
            _unlink(part)
        own = f"{self._name}-{self._stamp[:12]}-"
        for old in folder.glob(f"{self._name}-*.bin"):
            if not old.name.startswith(own) and _is_stale(old):
                _unlink(old)  # of an older source

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def _filename(self, sig: Any, codegen: Any) -> str:
        key = hashlib.sha256(repr((sig, codegen.magic_tuple(), self._stamp)).encode())
        return f"{self._name}-{self._stamp[:12]}-{key.hexdigest()[:24]}.bin"


_SHARED: dict[str, Any] = {}  # the shared functions of this process by file; kept for good
_FILE_OF: dict[str, str] = {}  # symbol -> file


def _load(filename: str, target_context: Any, shared: bool) -> Any:
    """The compiled function of a file, after those that it calls; None if there is none."""
    import llvmlite.binding as llvm
    from numba.core.compiler import CompileResult
    from numba.core.runtime import rtsys

    if filename in _SHARED:
        return _SHARED[filename]
    for folder in folders()[0]:
        path = folder / filename
        try:
            content = path.read_bytes()
        except OSError:
            continue
        try:
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError("truncated")
            called, others, state = pickle.loads(content[32:])
            for file, symbol in called:
                found = _load(file, target_context, True)
                if found is None or found.fndesc.llvm_func_name != symbol:
                    return None  # two processes wrote at once; the next file is of one of them
            # Numba loads all that it compiles with (0.36 s) before it takes a function from the
            # disk; ours need what counts references, and nothing else unless a symbol is missing
            rtsys.initialize(target_context)
            if not all(map(llvm.address_of_symbol, others)):
                target_context.refresh()
            result = CompileResult._rebuild(target_context, *state)
        except Exception:  # whatever is wrong with a file, its kernel can be compiled
            _unlink(path)
            continue
        if shared:
            _keep(filename, result)
        return result
    return None


def _keep(filename: str, result: Any) -> None:
    """Let callers refer to a compiled function by its symbol, instead of copying its code."""
    import llvmlite.binding as llvm

    result.library._shared_module = llvm.parse_assembly("")  # what Numba links into a caller
    _SHARED[filename] = result
    _FILE_OF[result.fndesc.llvm_func_name] = filename


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
