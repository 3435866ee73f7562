"""The table of methods over seeds, from made-up run directories."""

import json

import numpy as np
import pytest

from espnet_sld.bin import table
from espnet_sld.errors import InputError
from espnet_sld.scoring.result import score_set
from espnet_sld.scoring.runs import read_runs
from espnet_sld.scoring.table import parse_contrasts

SENTENCES = 40
ERROR_RATES = {"none": 0.3, "ce": 0.06, "sld": 0.05, "matched": 0.05}
OTHERS = 0.1


def make_run(runs_dir, row, seed, name="test", sentences=SENTENCES):
    """Reference: 5 times `a`; each is misheard with the row's rate."""
    generator = np.random.default_rng([seed, len(row), ord(row[0])])
    out = runs_dir / f"asr_sld_{row}_seed{seed}" / "decode_greedy" / name
    out.mkdir(parents=True)
    wrong = generator.random((sentences, 5)) < ERROR_RATES.get(row, OTHERS)
    heard = (" ".join("b" if error else "a" for error in errors) for errors in wrong)
    lines = (f"u{n:03d} {words}\n" for n, words in enumerate(heard))
    (out / "text").write_text("".join(lines))
    (runs_dir / f"ref_{sentences}").write_text("".join(f"u{n:03d} a a a a a\n" for n in range(sentences)))
    meta = {"n_params": 1000, "git": "f" * 40, "objective": row}
    return score_set(out / "text", runs_dir / f"ref_{sentences}", out, meta)


@pytest.fixture
def runs_dir(tmp_path):
    for row in ERROR_RATES:
        for seed in range(4):
            make_run(tmp_path, row, seed)
    return tmp_path


def run(runs_dir, *options):
    arguments = ["--runs_dir", str(runs_dir), "--out", f"{runs_dir}/TABLE.md", "--resamples", "500"]
    table.main([*arguments, "--sets", "test", *options])
    return (runs_dir / "TABLE.md").read_text(), json.loads((runs_dir / "TABLE.json").read_text())


def test_table_shows_mean_and_deviation_over_seeds_and_says_what_is_absent(runs_dir):
    text, values = run(runs_dir)
    cell = values["rows"]["none"]["test"]
    assert cell["seeds"] == [0, 1, 2, 3]
    assert f"{np.mean(cell['wer']):.2f} ± {np.std(cell['wer'], ddof=1):.2f}" in text
    assert "- `kl`: no run" in text
    assert "1 000" in text and "ffffffffff" in text
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:9]] == [
        "i",
        "ii",
        "iii",
        "iv",
        "v",
        "",
        "",
    ]


def test_contrasts_are_corrected_and_judged_in_words(runs_dir):
    text, values = run(runs_dir)
    by_name = {entry["second"]: entry for entry in values["contrasts"]}
    assert by_name["none"]["verdict"] == "better"
    assert by_name["none"]["p_holm"] >= by_name["none"]["difference"]["p"]
    assert by_name["matched"]["verdict"] in {"undecided", "equivalent within 0.5"}
    assert "sld – none" in text and "resamples seeds" in text


def test_contrast_uses_shared_seeds_only_and_counts_unfinished_runs(runs_dir):
    make_run(runs_dir, "sld", 9)
    (runs_dir / "asr_sld_ce_seed9").mkdir()
    text, values = run(runs_dir)
    assert [entry["seeds"] for entry in values["contrasts"]] == [[0, 1, 2, 3]] * 3
    assert "- `ce`, test: 1 without a result (seed 9)" in text


def test_contrast_without_two_shared_seeds_is_not_tested(tmp_path):
    for row in ("sld", "none"):
        make_run(tmp_path, row, 1)
    text, values = run(tmp_path, "--rows", "sld,none", "--contrasts", "sld:none")
    assert values["contrasts"][0]["difference"] is None
    assert "not tested: 1 shared seed" in text


def test_development_sets_get_no_contrast(runs_dir):
    make_run(runs_dir, "sld", 0, name="dev")
    _, values = run(runs_dir, "--sets", "dev,test")
    assert {entry["set"] for entry in values["contrasts"]} == {"test"}


def test_row_names_that_contain_each_other_are_kept_apart(tmp_path):
    for row in ("ce", "ce_weighted"):
        make_run(tmp_path, row, 1)
    runs = read_runs(tmp_path, ["ce", "ce_weighted"], ["test"])
    assert [len(runs.scored[row, "test"]) for row in ("ce", "ce_weighted")] == [1, 1]


def test_runs_on_different_references_are_refused(runs_dir):
    make_run(runs_dir, "sld", 7, sentences=SENTENCES - 1)
    with pytest.raises(InputError, match=r"asr_sld_sld_seed7.*other utterances"):
        run(runs_dir)


def test_counts_that_disagree_with_the_result_are_refused(runs_dir):
    path = runs_dir / "asr_sld_sld_seed0" / "decode_greedy" / "test" / "result.json"
    path.write_text(path.read_text().replace('"ins": 0', '"ins": 5'))
    with pytest.raises(InputError, match="disagree"):
        run(runs_dir)


def test_unknown_rows_in_contrasts_are_refused():
    with pytest.raises(InputError, match="sld:xyz"):
        parse_contrasts("sld:none,sld:xyz", ["sld", "none"])


def test_directory_without_runs_is_an_error(tmp_path):
    with pytest.raises(InputError, match="train and score them first"):
        run(tmp_path)
