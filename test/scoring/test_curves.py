"""Loss curves from event files in tensorboard's own format."""

import json

import numpy as np
import pytest

from espnet_sld.bin import plot_curves
from espnet_sld.errors import InputError
from espnet_sld.scoring.curves import Curve, final_and_best, mean_curve, read_scalars
from espnet_sld.scoring.plots import plot_curves as plot_panels


def run(runs_dir, *options):
    plot_curves.main(["--runs_dir", str(runs_dir), "--out", str(runs_dir / "curves"), *options])
    return (runs_dir / "curves.md").read_text(), json.loads((runs_dir / "curves.json").read_text())


def test_scalars_come_back_as_they_were_written(tmp_path, write_events):
    write_events(tmp_path, (3.0, 2.0, 1.5))
    curves = read_scalars(tmp_path)
    assert curves["ce_text"].steps.tolist() == [100, 200, 300]
    assert curves["ce_text"].values.tolist() == [3.0, 2.0, 1.5]
    assert curves["ce_speech"].values.tolist() == [6.0, 4.0, 3.0]


def test_what_a_resumed_training_wrote_last_counts(tmp_path, write_events):
    write_events(tmp_path, (3.0, 2.0, 9.0), suffix=".0")
    write_events(tmp_path, (1.5, 1.0), first_epoch=3, suffix=".1")
    curve = read_scalars(tmp_path)["ce_text"]
    assert curve.steps.tolist() == [100, 200, 300, 400]
    assert curve.values.tolist() == [3.0, 2.0, 1.5, 1.0]


def test_a_file_that_a_kill_cut_off_gives_what_is_whole(tmp_path, write_events):
    write_events(tmp_path, (3.0, 2.0, 1.5))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-10])
    curves = read_scalars(tmp_path)
    assert curves["loss"].values.tolist() == [9.0, 6.0, 4.5]
    assert len(curves["acc_text"].steps) == 2  # the figure that was cut


def test_mean_uses_the_steps_that_all_runs_have():
    first = Curve(np.array([100, 200, 300]), np.array([1.0, 2.0, 3.0]))
    second = Curve(np.array([200, 300, 400]), np.array([4.0, 7.0, 9.0]))
    mean = mean_curve([first, second])
    assert mean.steps.tolist() == [200, 300] and mean.values.tolist() == [3.0, 5.0]
    with pytest.raises(InputError, match="no step in common"):
        mean_curve([first, Curve(np.array([50]), np.array([1.0]))])


def test_the_best_value_is_a_number_even_where_training_diverged():
    curve = Curve(np.array([1, 2, 3]), np.array([2.0, 1.0, np.nan]))
    values = final_and_best(curve)
    assert np.isnan(values["final"]) and (values["best"], values["best_step"]) == (1.0, 2)
    assert final_and_best(curve, larger_is_better=True)["best"] == 2.0


@pytest.mark.slow
def test_a_training_that_diverged_is_drawn(tmp_path):
    curve = Curve(np.arange(1, 7), np.array([3.0, 2.0, 1.0, np.nan, np.inf, 2.0]))
    lost = Curve(np.arange(1, 7), np.full(6, np.nan))
    rows = {"sld": [curve], "ce": [lost]}
    labels = {"sld": "v SLD", "ce": "ii multimodal cross entropy"}
    written = plot_panels([("loss", "dev", rows)], tmp_path / "curves", title="loss", labels=labels)
    assert [path.suffix for path in written] == [".png", ".svg"] and all(path.is_file() for path in written)


@pytest.mark.slow
def test_curves_of_all_objectives_are_drawn_and_missing_ones_named(tmp_path, make_run):
    common = {"wrong": 0.1, "sets": (), "dev_set": "dev_other"}
    for index, row in enumerate(("none", "ce", "sld")):
        make_run(tmp_path, row, 0, losses=(3.0, 2.0, 1.0 + index / 10), **common)
    make_run(tmp_path, "sld", 1, losses=(3.2, 2.2, 1.1), **common)
    text, points = run(tmp_path, "--parts", "ce_text,acc_text")
    assert "CE of text (nats a token): dev_other, inputs unmasked" in text
    assert "- `kl`: not run" in text and "- `label_smoothing`: not run" in text
    assert "statement about that training" in text
    assert points["sld"]["1"]["curves"]["ce_text"]["values"] == pytest.approx([3.2, 2.2, 1.1])
    assert points["kl"] == {}
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "curves.svg").read_bytes()
    run(tmp_path, "--parts", "ce_text,acc_text")
    assert (tmp_path / "curves.svg").read_bytes() == svg


@pytest.mark.slow
def test_masked_and_unmasked_dev_losses_never_share_a_panel(tmp_path, make_run):
    make_run(tmp_path, "sld", 0, wrong=0.1, sets=(), losses=(2.0, 1.0))
    make_run(tmp_path, "sld_maskdev", 0, wrong=0.1, sets=(), masked=True, losses=(3.0, 2.5))
    text, points = run(tmp_path, "--rows", "sld,sld_maskdev")
    assert text.count("## CE of text") == 2
    assert "dev, inputs unmasked" in text and "inputs masked with probability 0.3" in text
    assert "not comparable with the unmasked loss" in text
    assert (points["sld"]["0"]["dev_masked"], points["sld_maskdev"]["0"]["dev_masked"]) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "nothing"), "train them first"),
        (("--rows", "sld", "--parts", "ce_tex"), "no figure 'ce_tex' in it; there are: acc_text"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, options, message, make_run):
    make_run(tmp_path, "sld", 0, wrong=0.1, sets=(), losses=(2.0, 1.0))
    with pytest.raises(InputError, match=message):
        run(tmp_path, *options)


def test_a_folder_without_event_files_is_named(tmp_path):
    with pytest.raises(InputError, match="use_tensorboard"):
        read_scalars(tmp_path)
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    with pytest.raises(InputError, match="hold no figures"):
        read_scalars(tmp_path)
