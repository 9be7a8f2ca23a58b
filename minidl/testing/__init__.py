"""Checks that minidl's own tests use, for users' ops and kernels too."""

from typing import Any

_HOMES = {
    "KernelCase": "minidl.testing.kernels",
    "check_kernel": "minidl.testing.kernels",
    "check_gradients": "minidl.testing.gradients",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
