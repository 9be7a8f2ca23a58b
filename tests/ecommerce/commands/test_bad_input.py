"""What a user can get wrong: one line that names cause and fix, the right exit code, no traceback,
and nothing half-written left behind."""

import gzip
import os
import shutil

import pytest

USAGE, BAD_DATA = 2, 3
GOOD = "user,item,value,time\n" + "".join(
    f"u{n % 7},i{n * 5 % 11},{n % 5 + 1},{1000 + n}\n" for n in range(80)
)
STARS = "text,rating\n" + "".join(
    f"{'great lovely' if n % 2 else 'awful broken'} thing {n},{5 if n % 2 else 1}\n"
    for n in range(40)
)


@pytest.fixture
def place(tmp_path, shop, trained, judged, monkeypatch):
    """A folder with files that are wrong in many ways; the working folder of the command."""
    monkeypatch.chdir(tmp_path)
    files = {
        "good.csv": GOOD,
        "empty.csv": "",
        "blank.csv": "\n\n",
        "header.csv": "user,item,value,time\n",
        "ragged.csv": GOOD + "u1,i1\n",
        "nan.csv": GOOD + "u1,i1,nan,5\n",
        "word.csv": GOOD + "u1,i1,many,5\n",
        "time.csv": GOOD + "u1,i1,1,yesterday\n",
        "nouser.csv": GOOD + ",i1,1,5\n",
        "other.csv": GOOD.replace("user", "who").replace("item", "what"),
        "timeless.csv": "user,item\n" + "".join(f"u{n % 7},i{n * 5 % 11}\n" for n in range(80)),
        "single.csv": "user,item,value,time\nu1,i1,1,1\n",
        "broken.jsonl": '{"reviewerID": "a", "asin": "b"\n',
        "stars.csv": STARS,
        "onekind.csv": "text,rating\n" + "nice thing,5\n" * 20,
        "notext.csv": STARS.replace("text", "words", 1),
        "nostars.csv": "text,n\n" + "nice thing,5\n" * 20,
        "few.csv": "text,rating\ngood,5\nbad,1\n",
        "empty.txt": "\n",
        "bad.toml": "model = \n",
        "unknown.toml": "data = 'good.csv'\nmodle = 'bpr'\n",
        "model.toml": "data = 'good.csv'\nmodel = 'bqr'\n",
        "value.toml": "data = 'good.csv'\ndraws = 'many'\n",
        "other.toml": "command = 'reviews'\ndata = 'good.csv'\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-40])
    (tmp_path / "latin.toml").write_bytes(b"model = '\xe9'\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/notes.txt").write_text("nothing to see")
    for name, source in (("run", trained), ("cutrun", trained), ("noconfig", trained),
                         ("badconfig", trained), ("judged", judged), ("cutjudged", judged)):
        shutil.copytree(source, tmp_path / name)
    for name in ("cutrun", "cutjudged"):
        whole = (tmp_path / name / "model.ecm").read_bytes()
        (tmp_path / name / "model.ecm").write_bytes(whole[: len(whole) // 2])
    altered = bytearray((trained / "model.ecm").read_bytes())
    altered[-5] ^= 1
    (tmp_path / "altered.ecm").write_bytes(altered)
    (tmp_path / "noconfig/config.toml").unlink()
    (tmp_path / "badconfig/config.toml").write_text("= = =")
    return tmp_path


TRAIN = "train --data good.csv --model popular --no-baselines "
CASES = [
    # the command line
    ("trian --data good.csv", USAGE, "'trian' is no command; did you mean 'train'"),
    ("train", USAGE, "give --data PATH"),
    ("train --data", USAGE, "expected one argument"),
    (TRAIN + "--modle bpr", USAGE, "--modle is not known here; did you mean '--model'"),
    (TRAIN + "extra", USAGE, "extra is not known here"),
    ("train --data good.csv --model bqr", USAGE, "--model bqr: no such model; did you mean 'BPR'"),
    (TRAIN + "--set dim=64", USAGE, "--set dim: Popular has no such parameter"),
    ("train --data good.csv --model itemknn --set decya=.5", USAGE, "did you mean 'decay'"),
    ("train --data good.csv --model itemknn --set decay=often", USAGE, "ItemKNN takes a number"),
    ("train --data good.csv --model itemknn --set decay=1.5", USAGE, "decay=1.5; it must be"),
    ("train --data good.csv --model itemknn --set decay=NaN", USAGE, "not a finite number"),
    ("train --data good.csv --model itemknn --set decay", USAGE, "is not name=value"),
    ("train --data good.csv --model bpr --set dim=many", USAGE, "BPR takes a whole number"),
    ("train --data good.csv --model bpr --set dim=0", USAGE, "dim=0; give a whole number"),
    ("train --data good.csv --model bpr --set lr=true", USAGE, "BPR takes a number"),
    (TRAIN + "--split random", USAGE, "--split random: not known"),
    (TRAIN + "--test 1.5", USAGE, "--test 1.5: give a share below 1"),
    (TRAIN + "--test nan", USAGE, "--test nan: give a share"),
    (TRAIN + "--draws 0", USAGE, "--draws 0: give a whole number of 1 or more"),
    (TRAIN + "--seed -1", USAGE, "--seed"),
    (TRAIN + "--k 0", USAGE, "--k 0: give a whole number of 1"),
    (TRAIN + "--k ten", USAGE, "--k ten"),
    (TRAIN + "--metrics ndgc", USAGE, "did you mean 'ndcg'"),
    (TRAIN + "--require ndcg@10", USAGE, 'write it as "ndcg@10>=0.05"'),
    (TRAIN + "--require ndgc@10>=.1", USAGE, "no metric 'ndgc'; did you mean 'ndcg'"),
    (TRAIN + "--require ndcg@0>=.1", USAGE, "no cut-off of 1 or more"),
    (TRAIN + "--require ndcg@10>=lots", USAGE, "--require ndcg@10>=lots"),
    (TRAIN + "--kcore 5", USAGE, "--kcore 5: give 2 or more"),
    (TRAIN + "--test 0", USAGE, "test=0; give a share, above 0"),
    (TRAIN + "--split leave_last --test .5", USAGE, "leave_last with test=0.5"),
    (TRAIN + "--split temporal --at tomorrow", USAGE, "at='tomorrow' is no time"),
    (TRAIN + "--at 2011-01-01", USAGE, "is for how='temporal'"),
    ("train --data good.csv --model itemknn --set neighbours=x", USAGE, "cannot use neighbours="),
    (TRAIN + "--out run", USAGE, "run is there already; choose another --out, or add --overwrite"),
    (TRAIN + "--out good.csv/run", USAGE, "cannot be written"),
    (TRAIN + "--out /proc/none/run", USAGE, "cannot be written"),
    ("train --config none.toml", USAGE, "--config none.toml: there is no such file"),
    ("train --config bad.toml", USAGE, "--config bad.toml: not TOML"),
    ("train --config latin.toml", USAGE, "not UTF-8"),
    ("train --config folder", USAGE, "--config folder: cannot be read"),
    ("train --config unknown.toml", USAGE, "unknown key 'modle'; did you mean 'model'"),
    ("train --config model.toml", USAGE, "no such model; did you mean 'BPR'"),
    ("train --config value.toml", USAGE, "value.toml: draws = 'many': give a whole number"),
    ("train --config other.toml", USAGE, "other.toml is a config of 'reviews', not of 'train'"),
    ("evaluate", USAGE, "give either --run FOLDER or --model-file FILE"),
    ("evaluate --model-file run/model.ecm", USAGE, "give --data PATH"),
    ("recommend --run run", USAGE, "give one of --user ID"),
    ("recommend --run run --user U1 --all", USAGE, "not --user and --all"),
    ("recommend --run run --user U00001 --csv good.csv/x.csv", USAGE, "cannot be written"),
    ("similar --run run", USAGE, "give --item ID"),
    ("reviews", USAGE, "give --data PATH to learn, or --run"),
    ("reviews --data stars.csv --set c=1", USAGE, "no such setting; did you mean 'C'"),
    ("reviews --data stars.csv --set C=-1", USAGE, "C=-1; it must be above 0"),
    ("reviews --data stars.csv --lang fr", USAGE, "--lang fr: not known"),
    ("reviews --data stars.csv --low 5", USAGE, "low=5.0 must be below"),
    ("reviews --run judged", USAGE, "--run FOLDER and --predict TEXT go together"),
    ("demo --rows 10", USAGE, "--rows 10: give a whole number of 2000"),
    # the data
    ("train --data none.csv", BAD_DATA, "none.csv: no such file or folder"),
    ("train --data empty.csv", BAD_DATA, "the file is empty"),
    ("train --data blank.csv", BAD_DATA, "holds no data"),
    ("train --data header.csv", BAD_DATA, "no rows below the header"),
    ("train --data binary.csv", BAD_DATA, "a binary file, not text"),
    ("train --data cut.csv.gz", BAD_DATA, "cut off or damaged"),
    ("train --data folder", BAD_DATA, "folder: no file of interactions"),
    ("train --data ragged.csv", BAD_DATA, "ragged.csv, line 82"),
    ("train --data nan.csv", BAD_DATA, "nan.csv, line 82"),
    ("train --data word.csv", BAD_DATA, "word.csv, line 82"),
    ("train --data time.csv", BAD_DATA, "time.csv, line 82"),
    ("train --data nouser.csv", BAD_DATA, "1 of 81 rows have no user or no item; add --clean"),
    ("train --data other.csv", BAD_DATA, "no column looks like the user"),
    ("train --data good.csv --user customer", BAD_DATA, "no column 'customer' for user"),
    ("train --data good.csv --format cvs", BAD_DATA, "format='cvs' is unknown"),
    ("train --data good.csv --encoding utf-99", USAGE, "--encoding utf-99: no such encoding"),
    ("train --data broken.jsonl", BAD_DATA, "broken.jsonl"),
    ("train --data timeless.csv --split leave_last", BAD_DATA, "leave_last needs times"),
    ("train --data single.csv", BAD_DATA, "leaves no row"),
    ("train --data good.csv --min-value 99", BAD_DATA, "keeps none of the rows of good.csv; lower"),
    ("train --data good.csv --kcore 900,900", BAD_DATA, "keeps none of the rows"),
    ("train --data good.csv --split given", BAD_DATA, "needs parts"),
    ("train --data good.csv --items none.csv", BAD_DATA, "none.csv: no such file"),
    ("evaluate --run none", BAD_DATA, "none: no such run folder"),
    ("evaluate --run folder", BAD_DATA, "folder: not a run folder (it has no config.toml)"),
    ("evaluate --run badconfig", BAD_DATA, "config.toml: damaged"),
    ("evaluate --run judged", BAD_DATA, "is a run of `reviews`"),
    ("evaluate --run run --data good.csv", BAD_DATA, "fitted on data with other ids"),
    ("recommend --run noconfig --user U00001", BAD_DATA, "it has no config.toml"),
    ("recommend --run cutrun --user U00001", BAD_DATA, "not a model file, or cut short"),
    ("recommend --model-file good.csv --user u1", BAD_DATA, "good.csv: not a model file"),
    ("recommend --model-file none.ecm --user u1", BAD_DATA, "there is no file none.ecm"),
    ("recommend --model-file altered.ecm --user u1", BAD_DATA, "altered or damaged"),
    ("recommend --model-file judged/model.ecm --user u1", BAD_DATA, "holds a Sentiment"),
    ("recommend --run run --users none.txt", BAD_DATA, "--users none.txt: cannot be read"),
    ("recommend --run run --users empty.txt", BAD_DATA, "holds no id"),
    ("recommend --run run --users binary.csv", BAD_DATA, "not text"),
    ("similar --run run --item P0001", BAD_DATA, "no such item; did you mean 'P0"),
    ("reviews --data none.csv", BAD_DATA, "none.csv: no such file"),
    ("reviews --data notext.csv", BAD_DATA, "the text"),
    ("reviews --data nostars.csv", BAD_DATA, "no column of stars or labels"),
    ("reviews --data onekind.csv", BAD_DATA, "two labels or more, these have positive"),
    ("reviews --data few.csv", BAD_DATA, "5 folds need 5 texts of each class"),
    ("reviews --data stars.csv --rating points", BAD_DATA, "no column 'points'"),
    ("reviews --run cutjudged --predict fine", BAD_DATA, "not a model file, or cut short"),
    ("reviews --run run --predict fine", BAD_DATA, "is a run of `train`"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message"), CASES, ids=[case[0] for case in CASES])
def test_one_clear_line(place, call, line, code, message):
    before = sorted(path for path in place.rglob("*"))
    done = call(*line.split(" "))
    assert (done.code, message in done.err) == (code, True), done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert "fault of the package" not in done.err
    assert sorted(path for path in place.rglob("*")) == before


def test_debug_shows_the_traceback(place, call):
    done = call("train", "--data", "empty.csv", "--debug")
    assert done.code == BAD_DATA
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(place, call):
    (place / "folder").chmod(0o500)
    done = call(*(TRAIN + "--out folder/run").split())
    assert done.code == USAGE
    assert "cannot be written" in done.err
