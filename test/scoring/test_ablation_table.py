"""An ablation's rows as a file says them, and the table over their runs."""

import json
import random
import shlex
import statistics

import pytest

from espnet_sld.bin import dmlm_table
from espnet_sld.errors import InputError
from espnet_sld.files import write_json
from espnet_sld.scoring.ablation_rows import read_ablations
from espnet_sld.scoring.captions import score_captions
from espnet_sld.scoring.result import score_set
from espnet_sld.scoring.significance import compare_methods

ROWS = """
common: --nclusters 100
margin: 2.0
rows:
- {name: base, what: everything}
- {name: other, what: another weight, options: '--dmlm_args "--criterion_conf lambda_speech=1.0"'}
- {name: alone, what: captions, options: --mixture conf/alone.yaml, tasks: [caption]}
contrasts: ["other:base", "alone:base"]
"""
SEEDS = (0, 1, 2)
RUN = "exp/dmlm_ablations_{}_seed{}"
IMAGES, CLASSES = 40, ("one", "two")  # a caption that names both is wrong


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "ablations.yaml"
    path.write_text(ROWS)
    return path


def test_rows_have_the_common_options_before_their_own(rows_file):
    read = read_ablations(rows_file)
    assert [row.name for row in read.rows] == ["base", "other", "alone"] and read.margin == 2.0
    own = ("--dmlm_args", "--criterion_conf lambda_speech=1.0")
    assert read.rows[1].options == ("--nclusters", "100", *own)
    assert read.contrasts == (("other", "base"), ("alone", "base"))
    assert read.contrasts_of(read.chosen(["base", "other"])) == [("other", "base")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: other,", "name: base,", "row 'base' comes twice"),
        ("what: everything", "wath: everything", "row 1 'base': no such key: wath"),
        ("tasks: [caption]", "tasks: [tts]", "tasks must be a list of asr, st, caption"),
        ('"other:base"', '"other:bass"', "contrast 'other:bass': expected two different rows"),
        ("margin: 2.0", "margin: none", "margin must be a number"),
        ("--nclusters 100", "--seed 3", "common: --seed is the driver's own"),
        ("--mixture conf/alone.yaml", "--asr-sets=dev", "--asr_sets is the driver's own"),
        ("--mixture conf", "mixture conf", "options must begin with --"),
        ('lambda_speech=1.0"', "lambda_speech=1.0", "No closing quotation"),
        ("name: alone", "name: a b", "needs a name of letters"),
        ("name: alone", "name: alone_seed2", "a name that does not end so"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_with_its_place(rows_file, old, new, message):
    assert old in ROWS
    rows_file.write_text(ROWS.replace(old, new))
    with pytest.raises(InputError) as error:
        read_ablations(rows_file)
    assert message in str(error.value) and str(rows_file) in str(error.value)


def test_the_plan_is_seed_by_seed_and_leaves_out_what_a_row_is_not_trained_for(rows_file, capsys):
    sets = ["--asr_sets", "dev,test", "--st_sets", "none"]
    assert dmlm_table.main(["--rows_file", str(rows_file), "--plan", "runs", "--seeds", "0,1", *sets]) == 0
    runs = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    tags = [run[run.index("--dmlm_tag") + 1] for run in runs]
    assert tags == [f"ablations_{row}_seed{seed}" for seed in (0, 1) for row in ("base", "other", "alone")]
    assert [run[run.index("--asr_sets") + 1] for run in runs[:3]] == ["dev test", "dev test", "none"]
    assert all(run[run.index("--st_sets") + 1] == "none" for run in runs)
    with pytest.raises(InputError, match="--rows: no row 'bass'; there are: base, other, alone"):
        dmlm_table.main(["--rows_file", str(rows_file), "--rows", "bass", "--plan", "rows"])


def speak(out, share, seed):
    """A recognised set of which this share of the words is wrong."""
    out.mkdir(parents=True)
    draw = random.Random(f"{share} {seed}")
    heard = [" ".join("b" if draw.random() < share else "a" for _ in range(4)) for _ in range(50)]
    (out / "text").write_text("".join(f"u{n:02d} {words}\n" for n, words in enumerate(heard)))
    (out / "ref").write_text("".join(f"u{n:02d} a a a a\n" for n in range(50)))
    return score_set(out / "text", out / "ref", out, {"n_params": 7, "git": "c0de" * 10})


def look(out, data, wrong, seed):
    """A captioned set with this many wrong captions."""
    out.mkdir(parents=True)
    missed = random.Random(f"{wrong} {seed}").sample(range(IMAGES), wrong)
    said = ["the one the two" if n in missed else f"the {CLASSES[n % 2]}" for n in range(IMAGES)]
    (out / "text").write_text("".join(f"i{n:02d} {words}\n" for n, words in enumerate(said)))
    return score_captions(out / "text", data / "captions.tsv", out, labels=data / "labels")


@pytest.fixture
def runs(tmp_path):
    """Runs of three rows; in the third, `other` has no speech loss yet."""
    data = tmp_path / "data" / "test_digits"
    data.mkdir(parents=True)
    classes = {f"i{n:02d}": CLASSES[n % 2] for n in range(IMAGES)}
    (data / "captions.tsv").write_text("".join(f"{image}\tthe {word}\n" for image, word in classes.items()))
    (data / "labels").write_text("".join(f"{image} {word}\n" for image, word in classes.items()))
    for seed in SEEDS:
        for row, share, wrong in (("base", 0.3, 10), ("other", 0.1, 11), ("alone", None, 4)):
            run = tmp_path / "exp" / f"dmlm_ablations_{row}_seed{seed}"
            if share is not None:
                speak(run / "asr" / "test", share, seed)
                if row == "base" or seed < 2:
                    write_json(run / "losses" / "tts_dev.json", {"ce": {"speech": 2.0 + seed}})
            look(run / "caption" / "test_digits", data, wrong + seed, seed)
    return tmp_path


def made(runs, *options):
    (runs / "ablations.yaml").write_text(ROWS)
    out = runs / "exp" / "ablations" / "TABLE.md"
    command = [
        "--rows_file",
        str(runs / "ablations.yaml"),
        "--runs_dir",
        str(runs / "exp"),
        "--out",
        str(out),
    ]
    command += ["--asr_sets", "test", "--st_sets", "none", "--loss", "tts_dev", "--resamples", "400"]
    dmlm_table.main([*command, "--labels", str(runs / "data/{}/labels"), *options])
    return out.read_text(), json.loads(out.with_suffix(".json").read_text())


def test_figures_are_means_and_deviations_over_seeds(runs):
    text, values = made(runs)
    base = values["rows"]["base"]
    results = [
        json.loads((runs / f"exp/dmlm_ablations_base_seed{seed}/asr/test/result.json").read_text())
        for seed in SEEDS
    ]
    wers = [result["wer"] for result in results]
    cell = base["figures"]["asr"]["test"]["wer"]
    assert cell["values"] == wers and cell["mean"] == statistics.fmean(wers)
    assert cell["sd"] == statistics.stdev(wers)
    right = base["figures"]["caption"]["test_digits"]["class_accuracy"]["values"]
    assert right == [100 * (IMAGES - 10 - seed) / IMAGES for seed in SEEDS]
    assert base["losses"]["speech"]["mean"] == 3.0 and base["losses"]["speech"]["sd"] == 1.0
    assert "3.000 ± 1.000" in text and "(seeds 0, 1)" in text  # a row that lacks one says which it has
    alone = next(line for line in text.splitlines() if line.startswith("| `alone`"))
    assert alone.count("–") >= 2 and values["rows"]["alone"]["figures"]["asr"] == {}


def test_contrasts_are_of_rows_that_share_the_task_and_of_wrong_captions(runs):
    text, values = made(runs)
    found = {(entry["set"], entry["first"]): entry for entry in values["contrasts"]}
    assert set(found) == {
        ("test", "other"),
        ("captions of test_digits", "other"),
        ("captions of test_digits", "alone"),
    }
    assert found["test", "other"]["difference"]["delta"] < -10
    captions = found["captions of test_digits", "other"]
    assert captions["difference"]["delta"] == pytest.approx(
        100 / IMAGES
    )  # one wrong caption more, every seed
    assert captions["seeds"] == list(SEEDS) and captions["about"] == "methods"
    assert found["captions of test_digits", "alone"]["difference"]["delta"] == pytest.approx(-600 / IMAGES)
    assert "share of wrong ones" in text

    wrong = {}
    for row in ("base", "other"):
        said = [(runs / RUN.format(row, seed) / "caption/test_digits/text").read_text() for seed in SEEDS]
        wrong[row] = [[int("one the two" in line) for line in text.splitlines()] for text in said]
    plain = compare_methods(wrong["other"], wrong["base"], [1] * IMAGES, resamples=400, seed=0)
    assert captions["difference"]["interval95"] == list(plain.interval95)


def test_bleu_of_single_words_is_left_out_and_that_of_sentences_stands_there(runs):
    for seed in SEEDS:
        for name, words in (("single", 1), ("whole", 4)):
            result = {"wer": 10.0 + seed, "bleu": 50.0, "ref_words": 20 * words, "utterances": 20}
            write_json(runs / RUN.format("base", seed) / "st" / name / "result.json", result)
    text, values = made(runs, "--st_sets", "single,whole")
    header = text.splitlines()[0]
    assert "st single WER %" in header and "st single BLEU" not in header and "st whole BLEU" in header
    assert values["rows"]["base"]["figures"]["st"]["single"]["wer"]["mean"] == 11.0


def test_captions_that_changed_after_scoring_are_noticed(runs):
    text = runs / "exp" / "dmlm_ablations_other_seed1" / "caption" / "test_digits" / "text"
    text.write_text(text.read_text().replace("the one the two", "the one"))
    with pytest.raises(InputError, match=r"result\.json and the captions disagree"):
        made(runs)
