"""The ablation table: rows over seeds, the beam as a row of its own, speed ratios, contrasts."""

import json
import random

import pytest

from espnet_sld.bin import best_decoding, ctc_table
from espnet_sld.errors import InputError
from espnet_sld.scoring.result import score_set

SHARE = {"ctc": 0.4, "aed_kd": 0.2, "interaed_kd": 0.1}
BEAM = "decode_beam_lm_weight_0.4"


def scored(out, share, seed, rtf, **more):
    """A run whose words are wrong with this probability; `more`: reported by the decoder."""
    out.mkdir(parents=True)
    draw = random.Random(f"{share} {seed}")
    heard = [" ".join("b" if draw.random() < share else "a" for _ in range(6)) for _ in range(50)]
    (out / "text").write_text("".join(f"u{n:02d} {words}\n" for n, words in enumerate(heard)))
    (out / "ref").write_text("".join(f"u{n:02d} a a a a a a\n" for n in range(50)))
    meta = {"n_params": 1234, "decode_seconds": rtf * 100.0, "audio_seconds": 100.0, "objective": "x"}
    meta |= more
    return score_set(out / "text", out / "ref", out, meta)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("runs")
    for row, share in SHARE.items():
        for seed in (1, 2, 3):
            run = tmp_path / f"{row}_seed{seed}"
            for name in ("dev", "test"):
                scored(run / "decode_greedy" / name, share, seed, 0.5)
            if seed == 1:
                scored(run / "decode_greedy_batch_size_1" / "test", share, seed, 0.01)
            if row == "ctc":
                scored(run / BEAM / "test", 0.15, seed, 0.08 + 0.01 * seed)
    return tmp_path


def table(runs, *options):
    common = ["--runs_dir", str(runs), "--rows", ",".join(SHARE), "--sets", "dev,test", "--resamples", "300"]
    speed = ["--speed_tags", "one by one=decode_greedy_batch_size_1"]
    out = runs / "out" / "TABLE.md"
    ctc_table.main([*common, *speed, "--out", str(out), *options])
    return out.read_text(), json.loads(out.with_suffix(".json").read_text())


def test_rows_beam_speed_and_contrasts_stand_in_the_table(runs):
    text, values = table(runs, "--beam_tag", BEAM, "--contrasts", "interaed_kd:ctc,interaed_kd:ctc_beam")
    assert list(values["rows"]) == [*SHARE, "ctc_beam"]
    for row, cells in values["rows"].items():
        assert cells["sets"]["test"]["seeds"] == [1, 2, 3] and cells["parameters"] == [1234]
        wer = cells["sets"]["test"]["mean"]
        assert wer == pytest.approx(100 * {**SHARE, "ctc_beam": 0.15}[row], abs=8)
    assert values["rows"]["ctc"]["rtf"]["one by one"] == pytest.approx(0.01)
    assert values["rows"]["ctc_beam"]["rtf"]["one by one"] == pytest.approx(0.1)  # the mean of three
    assert "faster than their beam search by 10.0 × (one by one)" in text
    entries = {(entry["first"], entry["second"], entry["set"]): entry for entry in values["contrasts"]}
    decided = entries["interaed_kd", "ctc", "test"]
    assert decided["verdict"] == "better" and decided["about"] == "methods"
    assert {name for *_, name in entries} == {"test"}  # models are chosen on dev
    assert "1 234" in text and "| `ctc_beam`" in text


@pytest.mark.parametrize(
    ("reported", "clock", "greedy", "ratio"),
    [
        ([{"device": "cpu", "decode_cpu_seconds": seconds} for seconds in (0.5, 4.0)], "cpu", 0.005, 8.0),
        ([{"device": "cpu", "decode_cpu_seconds": 0.5}, {"device": "cpu"}], "wall", 0.01, 10.0),
        ([{"device": "cuda", "decode_cpu_seconds": seconds} for seconds in (0.5, 4.0)], "wall", 0.01, 10.0),
    ],
)
def test_speed_is_by_cpu_time_where_every_decoding_has_it(tmp_path, reported, clock, greedy, ratio):
    for tag, rtf, more in zip(("decode_greedy", "decode_beam"), (0.01, 0.1), reported, strict=True):
        scored(tmp_path / "ctc_seed1" / tag / "test", 0.2, 1, rtf, **more)
    out = tmp_path / "TABLE.md"
    options = ["--rows", "ctc", "--sets", "test", "--contrasts", "", "--resamples", "300"]
    options += ["--speed_tags", "one by one=decode_greedy", "--beam_tag", "decode_beam"]
    ctc_table.main(["--runs_dir", str(tmp_path), *options, "--out", str(out)])
    values = json.loads(out.with_suffix(".json").read_text())
    assert values["clock"] == clock and values["rows"]["ctc"]["rtf"]["one by one"] == pytest.approx(greedy)
    assert values["rows"]["ctc_beam"]["rtf_wall"]["one by one"] == pytest.approx(0.1)
    said = {"cpu": "CPU seconds of all threads in decoding", "wall": "seconds that passed in decoding"}
    assert said[clock] in out.read_text() and f"by {ratio:.1f} × (one by one)" in out.read_text()


def test_a_row_without_runs_says_so(runs):
    text, _ = table(runs, "--rows", "ctc,interctc", "--contrasts", "interctc:ctc")
    line = next(line for line in text.splitlines() if line.startswith("| `interctc`"))
    assert line.count("not run") == 2 and "not run: no shared seed" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "sld"], "no such row"),
        (["--rows", "aed_kd", "--beam_tag", BEAM], "not among --rows"),
        (["--contrasts", "ctc:nothing"], "expected two different rows"),
        (["--speed_tags", "one by one"], "expected heading=tag"),
    ],
)
def test_wrong_options_are_refused(runs, options, message):
    with pytest.raises(InputError, match=message):
        table(runs, *options)


def test_the_best_decoding_is_chosen_on_a_development_set_only(runs, capsys):
    experiment = runs / "ctc_seed1"
    scored(experiment / "decode_beam_a" / "dev", 0.2, 1, 0.1)
    scored(experiment / "decode_beam_b" / "dev", 0.05, 1, 0.1)
    tags = ["--tags", "decode_beam_a", "decode_beam_b"]
    best_decoding.main(["--exp_dir", str(experiment), *tags])
    assert capsys.readouterr().out == "decode_beam_b\n"
    with pytest.raises(InputError, match="nothing is chosen on a test set"):
        best_decoding.main(["--exp_dir", str(experiment), "--set", "test", *tags])
