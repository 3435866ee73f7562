"""Training on real recordings: it learns, resumes to the same weights, and notices wrong input."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from espnet_sld.bin import train_vocoder as command
from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.scoring.speech_distance import distance
from espnet_sld.vocoder import train
from espnet_sld.vocoder.mel import log_mel
from espnet_sld.vocoder.samples import Sample, load_samples
from espnet_sld.vocoder.saved import UnitVocoder
from espnet_sld.vocoder.synthesise import GriffinLim, speak
from espnet_sld.vocoder.timing import read_units, timing_of
from espnet_sld.vocoder.train import STATE, TrainOptions, rate, train_vocoder


def fit(world, out, **changes):
    options = replace(world.options, **{"steps": 6, "save_every": 2, **changes})
    return train_vocoder(world.data, world.units, out, 40, timing_of(world.kmeans), world.conf, options)


def test_speech_copied_through_units_is_nearer_to_the_recording_than_before_training(
    world, trained, untrained
):
    units = read_units(world.units, 40)
    before, after = [], []
    conf = world.conf
    for utt, wave in utterances(DataDir.read(world.held_out)):
        recorded = log_mel(wave, conf) * conf.nats
        for model, found in ((untrained, before), (trained, after)):
            spoken = speak(units[utt], model, GriffinLim(conf, 10), speaker=utt.split("-")[0])
            found.append(distance(recorded, log_mel(spoken, conf) * conf.nats))
    assert len(after) == 4
    for measure in ("mcd_db", "mel_db"):
        old, new = (np.mean([getattr(d, measure) for d in part]) for part in (before, after))
        assert new < 0.75 * old


def test_losses_fall_and_the_record_says_what_was_done(trained):
    curve = trained.info["loss"]
    assert [point["step"] for point in curve] == [25, 50, 60]
    assert all(curve[-1][name] < 0.95 * curve[0][name] for name in ("mel_l1", "duration_nll"))
    assert trained.speakers == ["george", "theo"] and trained.info["utterances"] == 32


@pytest.mark.slow
def test_a_training_that_was_broken_off_ends_with_the_same_weights(world, tmp_path, monkeypatch):
    whole = fit(world, tmp_path / "whole")
    step = train._Training._step

    def stop(self, number):
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(train._Training, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(world, tmp_path / "broken")
    monkeypatch.undo()
    assert (tmp_path / "broken" / STATE).is_file()
    resumed = fit(world, tmp_path / "broken")
    assert not (tmp_path / "broken" / STATE).exists()
    state = resumed.modules().state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.modules().state_dict().items())
    assert resumed.info["loss"] == whole.info["loss"]


def test_a_state_of_other_options_is_not_used(world, tmp_path):
    first = fit(world, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    torch.save({"key": "other", "step": 5}, tmp_path / "b" / STATE)
    (tmp_path / "b" / "train.done.json").unlink()
    again = fit(world, tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()
    assert again.info == first.info


def test_a_finished_vocoder_is_kept_and_other_options_train_another(world, tmp_path):
    fit(world, tmp_path / "v", steps=2)
    stamp = (tmp_path / "v" / "model.safetensors").stat().st_mtime_ns
    fit(world, tmp_path / "v", steps=2)
    assert (tmp_path / "v" / "model.safetensors").stat().st_mtime_ns == stamp
    fit(world, tmp_path / "v", steps=2, seed=1)
    assert (tmp_path / "v" / "model.safetensors").stat().st_mtime_ns != stamp


def test_a_kill_between_weights_and_stamp_does_not_pass_them_off_as_the_earlier_ones(
    world, tmp_path, monkeypatch
):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    fit(world, tmp_path / "v", steps=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Stamp, "write", killed)
        fit(world, tmp_path / "v", steps=2, seed=1)
    assert fit(world, tmp_path / "v", steps=2).info["options"]["seed"] == 0


def test_pieces_without_a_whole_run_teach_no_durations(world):
    vocoder = UnitVocoder(4, timing_of(world.kmeans), world.conf, ["s"], width=8)
    frames = vocoder.conf.num_frames(vocoder.timing.num_samples(400))
    silence = Sample("u", np.zeros(400, np.int64), np.zeros((frames, world.conf.bands), np.float16), "s")
    options = replace(world.options, batch=1, frames=8)
    training = train._Training(vocoder, [silence], options, world.folder / "no.pt", {})
    assert training.pieces(0)["runs"].shape == (1, 0)
    assert training._step(0)["duration_nll"] == 0


def test_the_command_takes_the_timing_from_the_k_means_record(world, tmp_path):
    arguments = f"--data_dir {world.data} --units {world.units} --out_dir {tmp_path}/v --steps 2 --width 8"
    assert (
        command.main([*arguments.split(), "--kmeans_dir", str(world.folder / "kmeans"), "--hours", "0.001"])
        == 0
    )
    vocoder = UnitVocoder.load(tmp_path / "v")
    assert (vocoder.num_units, vocoder.timing.shift, vocoder.info["options"]["steps"]) == (40, 320, 2)
    assert 0 < vocoder.info["utterances"] < 32
    with pytest.raises(InputError, match="either --kmeans_dir or --num_units"):
        command.main(arguments.split())


def test_units_of_another_shift_or_set_are_refused(world, tmp_path):
    with pytest.raises(
        InputError, match=r"has \d+ units, its recording \d+ of 320 samples; give units before"
    ):
        load_samples(world.data, world.joined, 40, timing_of(world.kmeans), world.conf)
    (tmp_path / "few").write_text("george-0-010 3 4\n")
    with pytest.raises(InputError, match="lacks 31 of 32 utterances"):
        load_samples(world.data, tmp_path / "few", 40, timing_of(world.kmeans), world.conf)


def test_audio_from_commands_and_of_two_channels_is_read_where_it_is_allowed(world, tmp_path):
    data = DataDir.read(world.data)
    few = data.select(data.utterances[:3])
    for utt, file in few.wav.items():
        samples, sampling_rate = soundfile.read(file, always_2d=True)
        soundfile.write(tmp_path / f"{utt}.wav", samples.repeat(2, axis=1), sampling_rate)
    piped = replace(few, wav={utt: f"cat {tmp_path}/{utt}.wav |" for utt in few.wav})
    folders = [few.write(tmp_path / "files"), piped.write(tmp_path / "piped")]
    arguments = f"--units {world.units} --num_units 40 --steps 1 --batch 1 --width 8 --out_dir {tmp_path}/v"
    with pytest.raises(InputError, match="--allow_pipes true"):
        command.main([*arguments.split(), "--data_dir", str(folders[1])])
    allowed = ["--allow_pipes", "true", "--channels", "mean", "--data_dir", str(folders[1])]
    assert command.main([*arguments.split(), *allowed]) == 0
    assert UnitVocoder.load(tmp_path / "v").info["options"]["channels"] == "mean"
    shape = (world.units, 40, timing_of(world.kmeans), world.conf)
    plain, read = (
        load_samples(folders[0], *shape),
        load_samples(folders[1], *shape, allow_pipes=True, channels="mean"),
    )
    assert all(np.array_equal(a.mel, b.mel) for a, b in zip(plain, read, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"), [({"device": "gpu"}, "no device"), ({"seed": -1}, "seed -1")]
)
def test_what_would_fail_after_the_audio_is_read_is_told_before(changes, message):
    with pytest.raises(InputError, match=message):
        TrainOptions(**changes)


def test_damage_is_noticed(world, tmp_path):
    shutil.copytree(world.vocoder, tmp_path / "v")
    path = tmp_path / "v" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not belong to"):
        UnitVocoder.load(tmp_path / "v")
    path.unlink()
    with pytest.raises(InputError, match="train the vocoder first"):
        UnitVocoder.load(tmp_path / "v")


def test_the_learning_rate_rises_then_falls_to_nothing():
    options = TrainOptions(steps=60)
    rates = [rate(step, options) for step in range(60)]
    assert max(rates) == pytest.approx(options.learning_rate) and rates[0] < rates[2] and rates[-1] < 1e-5
