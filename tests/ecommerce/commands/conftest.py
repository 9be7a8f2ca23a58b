"""A small shop on disk, a run on it, and a way to call the command line."""

from types import SimpleNamespace

import pytest

from ecommerce.commands import main
from ecommerce.data import make_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A folder with interactions.csv, items.csv, reviews.jsonl."""
    return make_shop(3000, n_images=8, n_reviews=400, seed=1).write(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def trained(shop, tmp_path_factory):
    """A run folder of `train`."""
    path = tmp_path_factory.mktemp("runs") / "itemknn"
    assert main(["train", "--data", str(shop), "--clean", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def judged(shop, tmp_path_factory):
    """A run folder of `reviews`."""
    path = tmp_path_factory.mktemp("runs") / "reviews"
    data = ["reviews", "--data", str(shop / "reviews.jsonl"), "--folds", "2"]
    assert main([*data, "--out", str(path), "--similar", "arrived late"]) == 0
    return path


@pytest.fixture
def call(capsys):
    """call("train", ...) -> code, out, err."""

    def run(*argv):
        capsys.readouterr()
        code = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run
