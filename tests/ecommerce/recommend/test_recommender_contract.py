"""Every model of MODELS keeps the contract of recommenders."""

import inspect

import pytest

from ecommerce.recommend import MODELS, Recommender
from tests.contracts.recommender_contract import CONTRACT, SETTINGS


def test_models_are_recommenders():
    assert all(issubclass(m, Recommender) and m.__name__ == n for n, m in MODELS.items())
    assert any(m.personal for m in MODELS.values())
    assert set(SETTINGS) <= set(MODELS)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", MODELS)
def test_model_keeps_the_contract(name, check, tmp_path, monkeypatch):
    def make():
        return MODELS[name](**SETTINGS.get(name, {}))

    given = {"make": make, "tmp_path": tmp_path, "monkeypatch": monkeypatch}
    check(**{wanted: given[wanted] for wanted in inspect.signature(check).parameters})
