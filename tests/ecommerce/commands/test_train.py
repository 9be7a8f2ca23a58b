"""train and evaluate: run folders, bars, config files."""

import json
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest

from ecommerce import runs
from ecommerce.commands import _config
from ecommerce.commands._summary import short, summarize
from ecommerce.data import read_interactions
from ecommerce.evaluation import Entry, mean_interval
from ecommerce.recommend import load_model

FILES = {"config.toml", "log.jsonl", "metrics.json", "model.ecm", "report.html", "titles.json"}


def test_one_run_folder_with_everything(trained):
    assert {path.name for path in trained.iterdir()} == FILES
    assert not [p for p in trained.parent.iterdir() if p.name.startswith(".")]
    metrics = json.loads((trained / "metrics.json").read_text())
    assert set(metrics["models"]) >= {"ItemKNN", "Popular", "Random"}
    ndcg = metrics["models"]["ItemKNN"]["metrics"]["ndcg@10"]
    assert ndcg["low"] < ndcg["mean"] < ndcg["high"]
    assert ndcg["mean"] > metrics["models"]["Popular"]["metrics"]["ndcg@10"]["mean"]
    assert len(metrics["data_hash"]) == 64
    assert metrics["protocol_fingerprints"]
    lines = (trained / "log.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["read", "cleaned", "split", "fitted", "measured", "done"]
    assert load_model(trained / "model.ecm").n_items > 10


def test_report_opens_offline(trained):
    html = (trained / "report.html").read_text()
    assert "http" not in html
    assert "<script" not in html
    assert html.count("<table>") >= 5
    assert html.count('src="data:image/png;base64,iVBOR') >= 3


def test_several_draws_are_averaged(shop, tmp_path, call):
    done = call("train", "--data", shop, "--clean", "--model", "popular", "--draws", 3,
                "--no-baselines", "--metrics", "ndcg,hr", "--k", "5,10", "--out", tmp_path / "r")
    assert done.code == 0
    assert "draw 3 of 3" in done.out
    found = json.loads((tmp_path / "r/metrics.json").read_text())["models"]["Popular"]
    ndcg = found["metrics"]["ndcg@10"]
    assert len(ndcg["draws"]) == 3
    assert len(set(ndcg["draws"])) == 3
    assert ndcg["mean"] == pytest.approx(sum(ndcg["draws"]) / 3)
    assert len(set(found["fingerprints"])) == 3
    assert set(found["metrics"]) == {"ndcg@5", "ndcg@10", "hr@5", "hr@10"}


def test_bar_met_and_bar_missed(shop, tmp_path, call):
    given = ["train", "--data", shop, "--clean", "--model", "Popular", "--no-baselines",
             "--metrics", "hr", "--out"]
    met = call(*given, tmp_path / "a", "--require", "ndcg@10>=0.0001", "--require", "recall@20<=1")
    assert met.code == 0
    assert "recall@20 = " in met.out
    missed = call(*given, tmp_path / "b", "--require", "ndcg@10 >= 0.99", "--require", "hr>0")
    assert missed.code == 1
    assert "wanted >= 0.99: MISSED" in missed.out
    assert "1 of 2 bars missed" in missed.err
    assert (tmp_path / "b/report.html").is_file()  # the run is there to be looked at


def test_config_round_trip(shop, tmp_path, call):
    first = call("train", "--data", shop, "--clean", "--model", "ItemKNN", "--set", "decay=.8",
                 "--set", "neighbours=5", "--metrics", "ndcg", "--out", tmp_path / "a", "--seed", 3)
    assert first.code == 0
    again = call("train", "--config", tmp_path / "a/config.toml", "--out", tmp_path / "b")
    assert again.code == 0
    one, two = (json.loads((tmp_path / f / "metrics.json").read_text()) for f in "ab")
    assert one["model"] == two["model"] == "ItemKNN(neighbours=5, shrink=10.0, decay=0.8)"
    assert one["models"]["Popular"]["metrics"] == two["models"]["Popular"]["metrics"]
    assert (tmp_path / "a/config.toml").read_text() == (tmp_path / "b/config.toml").read_text()
    assert (tmp_path / "a/model.ecm").read_bytes() == (tmp_path / "b/model.ecm").read_bytes()


def test_the_command_line_is_stronger_than_the_config(shop, tmp_path, call):
    path = tmp_path / "run.toml"
    lines = [f"data = '{shop}'", "clean = true", "k = 5", "[set]", "decay = 5e-1"]
    path.write_text("\n".join(lines))
    done = call("train", "--config", path, "--set", "decay=0.6", "--k", "7", "--metrics", "ndcg",
                "--out", tmp_path / "r")
    assert done.code == 0
    assert "ItemKNN(decay=0.6)" in done.out
    assert "first 7 products" in done.out


def test_bpr_leaves_its_curve_and_final_fits_all_rows(shop, tmp_path, call):
    done = call("train", "--data", shop, "--clean", "--model", "bpr", "--set", "epochs=8", "--set",
                "dim=8", "--no-baselines", "--final", "--refit", "--out", tmp_path / "r")
    assert done.code == 0
    assert "train+valid" in done.out
    curves = json.loads((tmp_path / "r/metrics.json").read_text())["training"]
    assert curves["epoch"] == [4, 8]
    assert curves["loss"][1] < curves["loss"][0]
    kept, _ = read_interactions(shop).clean()
    assert len(load_model(tmp_path / "r/model.ecm").history.items) == len(kept)
    again = call("recommend", "--run", tmp_path / "r", "--all", "--k", 1)
    assert again.code == 0


def test_evaluate_gives_the_figures_of_the_run(trained, call):
    done = call("evaluate", "--run", trained, "--require", "ndcg@10>=0.01")
    assert done.code == 0
    found = json.loads((trained / "metrics.json").read_text())
    mean = found["models"]["ItemKNN"]["metrics"]["ndcg@10"]["mean"]
    assert f"ndcg@10 = {mean:.4f}" in done.out
    assert found["protocol_fingerprints"][0] in done.out


def test_evaluate_a_model_file_on_data_named_by_hand(trained, shop, tmp_path, call):
    done = call("evaluate", "--model-file", trained / "model.ecm", "--data", shop, "--clean",
                "--k", 5, "--metrics", "ndcg,hr", "--out", tmp_path / "e")
    assert done.code == 0
    assert (tmp_path / "e/report.html").is_file()
    assert "LEAK" not in done.out


def test_overwrite_replaces_a_run_only(shop, tmp_path, call):
    given = ["train", "--data", shop, "--clean", "--model", "popular", "--no-baselines", "--out"]
    assert call(*given, tmp_path / "a").code == 0
    assert call(*given, tmp_path / "a").code == 2
    assert call(*given, tmp_path / "a", "--overwrite").code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    kept = call(*given, tmp_path / "mine", "--overwrite")
    assert kept.code == 2
    assert "not a run folder" in kept.err
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"


def test_toml_writer_and_tomllib_agree():
    values = {
        "a": 1, "b": 2.5, "c": True, "d": 'quo"te \\ \x7f é 中', "e": ["x", "y"], "f": None,
        "odd name": 1e-9, "set": {"dim": 64, "on": False, "none": None},
    }
    found = tomllib.loads(_config.write(values))
    assert found == {
        "a": 1, "b": 2.5, "c": True, "d": 'quo"te \\ \x7f é 中', "e": ["x", "y"],
        "odd name": 1e-9, "set": {"dim": 64, "on": False},
    }


def test_draws_of_the_same_users_do_not_narrow_the_interval():
    def result(values):
        metrics = {"hr@1": mean_interval(values)}
        entry = Entry("Popular()", False, "train", "f", None, 1.0, metrics, {"hr@1": values})
        users = np.array([f"u{n}" for n in range(len(values))])
        return SimpleNamespace(models={"Popular": entry}, users=users, level=0.95,
                               protocol=SimpleNamespace(line=lambda: "as said"))

    values = np.random.default_rng(0).random(60)
    one, three = (summarize([result(values)] * n, None).ours.metrics["hr@1"] for n in (1, 3))
    assert three.mean == pytest.approx(one.mean)
    assert three.high - three.low == pytest.approx(one.high - one.low)
    other = summarize([result(values), result(values + 0.2)], [1.0, 3.0]).ours
    assert other.metrics["hr@1"].mean == pytest.approx(values.mean() + 0.1)
    assert other.spread["hr@1"] == pytest.approx(0.2 / np.sqrt(2))
    assert other.fit_seconds == 2.0


def test_short_names_of_models():
    assert short("ItemKNN(neighbours=None, shrink=10.0, decay=0.7)") == "ItemKNN(decay=0.7)"
    assert short("Random(seed=5)") == "Random"
    assert short("Mine(a=1)") == "Mine(a=1)"


def test_a_failed_run_leaves_nothing(tmp_path):
    def fail():
        with runs.NewRun(tmp_path / "a/b/run") as new:
            new.log("started")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_not_finite_values_become_null(tmp_path):
    with runs.NewRun(tmp_path / "run") as new:
        new.write_json("metrics.json", {"a": float("nan"), "b": [1.5, float("inf")]})
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == {"a": None, "b": [1.5, None]}
