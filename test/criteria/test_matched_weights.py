"""The command that derives the controls' options from counts on the training set."""

import json
import math

import pytest

from espnet_sld.bin import matched_weights
from espnet_sld.errors import InputError


def options(capsys, tmp_path, objective="matched", training=(), **criterion):
    stats = {
        "utterances": 10,
        "speech": {"total": 720},
        "cut_tokens": 10,
        "vocabulary": {"speech": 200},
    }
    (tmp_path / "length_stats.json").write_text(json.dumps(stats))
    conf = "".join(f"  {key}: {value}\n" for key, value in criterion.items())
    (tmp_path / "train.yaml").write_text(f"criterion_conf:\n{conf}")
    args = ["--length_stats", tmp_path / "length_stats.json", "--config", tmp_path / "train.yaml"]
    training = ["--training_args", *training] if training else []
    matched_weights.main([*map(str, args), "--objective", objective, *training])
    return dict(line.split("=") for line in capsys.readouterr().out.split())


def test_weight_and_epsilon_follow_the_equations(capsys, tmp_path):
    found = options(capsys, tmp_path, alpha=0.01, temperature=0.5, epsilon=0.2)
    ratio = 0.01 * 0.5 * (720 - 10 - 10) / 10  # λ = α·T·N_KL/B
    gap = math.exp(0.8 / 0.5)
    floor = 1 / (gap + 199)  # b, written from the softmax of Eq. 5
    assert float(found["speech_weight"]) == pytest.approx(1 + ratio)
    assert float(found["smoothing_epsilon"]) == pytest.approx(ratio * 200 * floor / (1 + ratio), rel=1e-5)


def test_a_number_that_yaml_reads_as_text_is_the_number(capsys, tmp_path):
    assert options(capsys, tmp_path, alpha="8e-3") == options(capsys, tmp_path, alpha=0.008)


@pytest.mark.parametrize("written", ["alpha=1e-2", "{alpha: 0.01, temperature: 1.0}"])
def test_options_of_the_training_count_before_its_configuration(written, capsys, tmp_path):
    training = ["--max_epoch", "3", "--criterion_conf", written, "--use_amp", "true"]
    found = options(capsys, tmp_path, training=training, alpha=0.5, epsilon=0.2)
    assert found == options(capsys, tmp_path, alpha=0.01, epsilon=0.2)


def test_the_unsmoothed_control_has_the_weight_alone(capsys, tmp_path):
    assert list(options(capsys, tmp_path, "ce_weighted")) == ["speech_weight"]


def test_missing_statistics_name_the_stage():
    with pytest.raises(InputError, match="run stage 6"):
        matched_weights.main(["--length_stats", "none", "--config", "none", "--objective", "matched"])
