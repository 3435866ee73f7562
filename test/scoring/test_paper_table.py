"""Table 1: the paper's figures beside ours, and nothing where there is no run."""

import json

import pytest

from espnet_sld.bin import paper_table
from espnet_sld.errors import InputError
from espnet_sld.scoring.published import SETS, TABLE1


def run(tmp_path, *options):
    paper_table.main(["--out", str(tmp_path / "TABLE1.md"), "--resamples", "300", *options])
    return (tmp_path / "TABLE1.md").read_text(), json.loads((tmp_path / "TABLE1.json").read_text())


def test_published_relative_gains_follow_from_the_published_figures():
    """Section 4.2's own percentages, WavLM: typing errors in the table would show here."""
    none, ce, sld = (dict(zip(SETS, TABLE1["wavlm"][row], strict=True)) for row in ("none", "ce", "sld"))

    def gain(from_, to, name):
        return round(100 * (1 - to[name] / from_[name]))

    assert (gain(none, sld, "test_clean"), gain(none, sld, "test_other")) == (9, 4)
    assert (gain(ce, sld, "test_clean"), gain(ce, sld, "test_other")) == (9, 7)
    assert gain(ce, none, "test_other") == 3


def test_sld_is_the_best_row_of_the_paper_on_every_set():
    for rows in TABLE1.values():
        assert list(rows) == ["none", "ce", "label_smoothing", "kl", "sld"]
        for column in range(4):
            assert rows["sld"][column] == min(wers[column] for wers in rows.values())


def test_without_runs_the_table_shows_the_paper_and_claims_nothing(tmp_path):
    text, values = run(tmp_path)
    rows = [line for line in text.splitlines() if line.startswith(("| i", "| v"))]
    assert len(rows) == 10 and all(line.count("not run") == 4 for line in rows)
    for group, published in TABLE1.items():
        for row in values["groups"][group]["rows"]:
            assert tuple(row["paper"].values()) == published[row["name"]]
            assert all(cell["wer"] == [] for cell in row["sets"].values())
    assert text.count("No contrast can be tested yet") == 2
    assert "E-Branchformer" in text


def test_ours_stand_beside_the_papers_with_counts_and_tests(tmp_path, make_run):
    for row, wrong in (("none", 0.4), ("ce", 0.12), ("sld", 0.1)):
        for seed in range(4):
            make_run(tmp_path / "hubert", row, seed, wrong=wrong, sets=SETS, dev_set="dev_other")
    text, values = run(tmp_path, "--runs", f"hubert={tmp_path / 'hubert'}")
    hubert = values["groups"]["hubert"]
    sld = next(row for row in hubert["rows"] if row["name"] == "sld")
    cell = sld["sets"]["test_other"]
    line = next(line for line in text.split("HuBERT-large units")[1].splitlines() if "`sld`" in line)
    assert "6.1" in line and f"{', '.join(map(str, cell['errors']))} of 200" in line
    assert "valid.ce_text (min) on dev_other" in text
    by_pair = {(entry["second"], entry["set"]): entry for entry in hubert["contrasts"]}
    assert by_pair["none", "test_clean"]["verdict"] == "better"
    assert by_pair["none", "test_clean"]["about"] == "methods"
    assert by_pair["ce", "test_clean"]["paper_significant"] is False
    assert by_pair["ce", "dev_other"]["paper_significant"] is True
    spread = max(max(each["wer"]) - min(each["wer"]) for each in sld["sets"].values())
    assert hubert["spread"] == spread and f"differ by up to {spread:.2f} points" in text
    published = "- `sld` better than `none`: paper (t-tests) on dev_clean, dev_other, test_clean, test_other"
    assert f"{published}; ours on dev_clean, dev_other, test_clean, test_other" in text
    assert values["groups"]["wavlm"]["contrasts"][0]["difference"] is None


def test_a_run_that_was_trained_but_not_scored_is_not_finished(tmp_path, make_run):
    make_run(tmp_path / "wavlm", "sld", 0, wrong=0.1, sets=("dev_clean",))
    text, _ = run(tmp_path, "--runs", f"wavlm={tmp_path / 'wavlm'}")
    line = next(line for line in text.splitlines() if "`sld`" in line)
    assert line.count("not finished") == 3


@pytest.mark.parametrize(
    ("value", "message"), [("whisper=x", "expected wavlm=DIR"), ("wavlm=/nowhere", "no such directory")]
)
def test_wrong_groups_are_refused(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, "--runs", value)
