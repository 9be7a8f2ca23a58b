"""What the shop's tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Callable[[str], Path]:
    """data_folder("ml-100k") is the public data set's folder; without it the test is skipped.

    They lie under the environment variable MINIDL_DATA, or beside the repository in shared/data.
    """
    root = Path(os.environ.get("MINIDL_DATA") or Path(__file__).parents[2] / ".." / "shared/data")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"no data set {name} (set MINIDL_DATA to the folder of public data sets)")
        return path

    return folder
