"""recommend, similar and reviews on finished runs; the demo."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecommerce import reviews
from ecommerce.commands import COMMANDS

ROOT = Path(__file__).parents[3]


def test_recommend_shows_titles_and_reasons(trained, call):
    done = call("recommend", "--run", trained, "--user", "U00003", "--k", 4)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["user", "rank", "item", "title", "score", "source", "reason"]
    assert len(lines) == 6
    assert "bought with " in lines[2]
    assert not re.search(r"bought with P\d", done.out)  # the title, not the id


def test_unknown_user_gets_popular_items_and_a_note(trained, call):
    done = call("recommend", "--run", trained, "--user", "nobody,U00003", "--k", 2)
    assert done.code == 0
    assert done.out.count("unknown user: popular") == 2
    assert "1 of 2 users are unknown (nobody" in done.err


def test_history_of_someone_new(trained, call):
    done = call("recommend", "--run", trained, "--history", "P00001,P00002", "--k", 3)
    assert done.code == 0
    assert done.out.count("fold-in") == 3


def test_users_of_a_file_to_csv(trained, tmp_path, call):
    (tmp_path / "users.txt").write_text("U00001\n\nU00002\n")
    done = call("recommend", "--run", trained, "--users", tmp_path / "users.txt", "--k", 3,
                "--block", "P00000", "--csv", tmp_path / "out.csv")
    assert done.code == 0
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["user"] for row in rows] == ["U00001"] * 3 + ["U00002"] * 3
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 2
    assert "P00000" not in {row["item"] for row in rows}
    assert all(row["title"] and float(row["score"]) > 0 for row in rows)


def test_similar_products(trained, shop, call):
    done = call("similar", "--run", trained, "--item", "P00001", "--k", 3)
    assert done.code == 0
    assert len(done.out.splitlines()) == 5
    by_file = call("similar", "--model-file", trained / "model.ecm", "--item", "P00001", "--k", 3)
    assert "title" not in by_file.out
    titled = call("similar", "--model-file", trained / "model.ecm", "--item", "P00001", "--k", 3,
                  "--items", shop / "items.csv")
    assert titled.out == done.out


def test_reviews_run(judged, call):
    found = json.loads((judged / "metrics.json").read_text())
    assert found["accuracy"]["mean"] > max(0.85, found["majority"])
    assert 0.8 < found["f1"] <= 1
    assert found["auc"] > 0.9
    html = (judged / "report.html").read_text()
    assert "http" not in html
    assert "Similar comments" in html
    assert html.count("data:image/png;base64") >= 2


def test_reviews_in_four_lines(shop):
    table = reviews.read(shop / "reviews.jsonl")
    labels = reviews.labels_of_stars(table["rating"])
    model = reviews.Sentiment().fit(table["text"][labels != ""], labels[labels != ""])
    assert model.explain("lovely colour, fits perfectly").label == "positive"


def test_reviews_judge_a_new_text(judged, call):
    done = call("reviews", "--run", judged, "--predict", "flimsy, it arrived late", "--predict",
                "a lovely bright colour")
    assert done.code == 0
    assert re.search(r"arrived late +negative", done.out)
    assert re.search(r"bright colour +positive", done.out)
    assert "flimsy +" in done.out


def test_reviews_held_out_with_labels_and_a_bar(shop, tmp_path, call):
    done = call("reviews", "--data", shop / "reviews.jsonl", "--label", "label", "--test", ".3",
                "--set", "C=1", "--set", "class_weight=balanced", "--require", "accuracy>=0.99999",
                "--require", "auc>0.5", "--out", tmp_path / "r")
    assert done.code == 1
    assert "held-out reviews" in done.out
    assert "accuracy = 0." in done.err
    again = call("reviews", "--config", tmp_path / "r/config.toml", "--out", tmp_path / "s")
    assert again.code == 1
    one, two = ((tmp_path / f / "metrics.json").read_text() for f in "rs")
    assert one == two


@pytest.mark.slow
def test_demo_on_a_small_shop(tmp_path, call):
    done = call("demo", "--rows", 4000, "--out", tmp_path / "d", "--k", 5)
    assert done.code == 0, done.err
    for part in ("return without purchase", "BPR", "(Random)", "macro F1", "Chinese", "report: "):
        assert part in done.out
    titled = re.findall(r"^U\d+ +\d+ +P\d+ +\w+ \w+ \w+", done.out, re.M)
    assert len(titled) == 5
    html = (tmp_path / "d/report.html").read_text()
    assert "http" not in html
    assert html.count("data:image/png;base64") >= 5
    said = ["--predict", "很好，很漂亮", "--predict", "bad"]
    after = call("reviews", "--run", tmp_path / "d", *said)
    assert after.code == 0
    assert "positive" in after.out
    assert call("recommend", "--run", tmp_path / "d", "--history", "P00005", "--k", 2).code == 0
    trained = call("train", "--data", tmp_path / "d/shop", "--clean", "--out", tmp_path / "t")
    assert trained.code == 0


# ---------------------------------------------------------------------- as a program


def program(*argv, **settings):
    return subprocess.run(
        [sys.executable, "-m", "ecommerce", *map(str, argv)], capture_output=True, text=True,
        timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)}, **settings,
    )


def test_as_a_program(trained, tmp_path):
    assert program("--version").stdout.startswith("ecommerce ")
    nothing = program()
    assert nothing.returncode == 2
    assert "demo" in nothing.stdout
    wrong = program("recommend", "--run", tmp_path / "none", "--user", "1")
    assert wrong.returncode == 3
    assert wrong.stdout == ""
    assert len(wrong.stderr.splitlines()) == 1
    right = program("similar", "--run", trained, "--item", "P00001", "--k", 2)
    assert right.returncode == 0
    assert right.stdout.count("P00001") == 2


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_shows_an_example(command, call):
    done = call(command, "--help")
    assert done.code == 0
    assert f"python -m ecommerce {command} " in done.out.partition("example:")[2]


def test_ctrl_c_leaves_nothing_and_exits_130(shop, tmp_path):
    started = subprocess.Popen(
        [sys.executable, "-m", "ecommerce", "train", "--data", str(shop), "--clean", "--model",
         "bpr", "--draws", "1000", "--out", str(tmp_path / "r")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        for line in started.stdout:
            if line.startswith("draw 1 "):
                break
        assert list(tmp_path.iterdir())  # something is being written
        time.sleep(0.2)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("interrupted")
    assert list(tmp_path.iterdir()) == []
