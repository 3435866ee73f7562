"""Units to recordings: lengths, files, voices, silence for nothing, and the distance to the real ones."""

import json

import numpy as np
import pytest
import soundfile
import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from espnet_sld.bin import score_speech
from espnet_sld.bin import synthesise as command
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.units.unit_text import ids_to_text
from espnet_sld.vocoder.hifigan_files import load_hifigan
from espnet_sld.vocoder.saved import UnitVocoder
from espnet_sld.vocoder.synthesise import GriffinLim, speak, synthesise
from espnet_sld.vocoder.timing import read_units


@pytest.fixture
def few(world, tmp_path):
    """Units of the four held-out recordings."""
    rows = {utt: value for utt, value in read_table(world.units).items() if utt.endswith("-000")}
    path = tmp_path / "units"
    path.write_text("".join(f"{utt} {value}\n" for utt, value in rows.items()), encoding="utf-8")
    return path


def make(world, units, out, **kwargs):
    kwargs.setdefault("maker", GriffinLim(UnitVocoder.load(world.vocoder).conf, 2))
    return synthesise(units, world.vocoder, out, **kwargs)


def test_the_result_is_a_data_directory_of_16_khz_wavs_as_long_as_their_units(world, few, tmp_path):
    out = tmp_path / "speech"
    arguments = f"--units {few} --vocoder {world.vocoder} --text {world.held_out}/text --out_dir {out}"
    assert command.main([*arguments.split(), "--iterations", "2"]) == 0
    data = DataDir.read(out, check_files=True)
    units = read_units(few, 40)
    assert data.utterances == sorted(units) and all(utt == speaker for utt, speaker in data.utt2spk.items())
    for utt, found in units.items():
        info = soundfile.info(data.wav[utt])
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert info.frames == (len(found) - 1) * 320 + 400 == round(16000 * data.utt2dur[utt])
    # the front-end would find as many frames again
    recorded = DataDir.read(world.held_out)
    for utt in data.utterances:
        assert (
            0 <= soundfile.info(recorded.wav[utt]).frames * 2 - soundfile.info(data.wav[utt]).frames < 320 + 2
        )


def test_de_duplicated_units_get_durations_that_sum_to_about_the_recordings(world, trained):
    whole, joined = read_units(world.units, 40), read_units(world.joined, 40)
    expanded = {utt: trained.expand(units) for utt, units in joined.items()}
    for utt, units in expanded.items():
        assert ids_to_text(units[np.flatnonzero(np.diff(units, prepend=-1))]) == ids_to_text(joined[utt])
    total = sum(map(len, expanded.values())) / sum(map(len, whole.values()))
    assert 0.85 < total < 1.15
    # runs in the input are joined first, so durations never pile up
    assert np.array_equal(trained.expand(np.repeat(joined["theo-7-000"], 3)), expanded["theo-7-000"])
    assert trained.expand(np.zeros(0, np.int64)).shape == (0,)


def test_an_utterance_without_units_is_silence_and_is_reported(world, few, tmp_path, caplog):
    few.write_text(few.read_text(encoding="utf-8") + "zzz\n", encoding="utf-8")
    report = make(world, few, tmp_path / "speech")
    assert report["empty"] == ["zzz"] and "1 of 5 utterances have no units" in caplog.text
    samples, _ = soundfile.read(DataDir.read(tmp_path / "speech", text=False).wav["zzz"])
    assert len(samples) == 8000 and not samples.any()


def test_voices_differ_and_an_unknown_one_is_refused_or_replaced(world, few, tmp_path, trained):
    units = read_units(few, 40)["theo-7-000"]
    one, other = (trained.mel(units, speaker) for speaker in ("george", "any"))
    assert np.abs(one - other).mean() > 1e-3
    with pytest.raises(InputError, match="speaker 'nobody': the vocoder knows george theo, and any"):
        make(world, few, tmp_path / "a", speaker="nobody")
    utt2spk = {utt: "stranger" if utt.startswith("george") else "theo" for utt in read_units(few, 40)}
    report = make(world, few, tmp_path / "b", utt2spk=utt2spk, own_voice=True)
    assert report["unknown_speakers"] == ["stranger"]
    assert DataDir.read(tmp_path / "b", text=False).utt2spk == utt2spk


def test_what_is_spoken_does_not_depend_on_the_others_and_is_kept(world, few, tmp_path):
    make(world, few, tmp_path / "all")
    for shard in (1, 2):
        make(world, few, tmp_path / f"part{shard}", shard=(shard, 2))
    names = {path.name for path in (tmp_path / "all" / "wavs").iterdir()}
    parts = [path for shard in (1, 2) for path in (tmp_path / f"part{shard}" / "wavs").iterdir()]
    assert {path.name for path in parts} == names and len(parts) == len(names)
    for path in parts:
        assert path.read_bytes() == (tmp_path / "all" / "wavs" / path.name).read_bytes()
    stamp = parts[0].stat().st_mtime_ns
    make(world, few, tmp_path / "part1", shard=(1, 2))
    assert parts[0].stat().st_mtime_ns == stamp
    make(world, few, tmp_path / "part1", shard=(1, 2), seed=1)
    assert parts[0].stat().st_mtime_ns != stamp


def test_a_change_of_the_sound_alone_shows_in_the_report_that_readers_of_it_look_at(world, few, tmp_path):
    conf, found = UnitVocoder.load(world.vocoder).conf, []
    for iterations in (2, 3, 2):
        report = make(world, few, tmp_path / "speech", maker=GriffinLim(conf, iterations))
        table = (tmp_path / "speech" / "wav.scp").read_text()
        assert json.loads((tmp_path / "speech" / "synthesis.json").read_text()) == report
        found.append((table, report["seconds"], report["digest"]))
    assert found[0] == found[2] and found[0][:2] == found[1][:2] and found[0][2] != found[1][2]


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_hifigan_of_any_rate_speaks_at_16_khz_with_the_same_length(world, trained, tmp_path, rate):
    config = SpeechT5HifiGanConfig(
        sampling_rate=rate,
        upsample_initial_channel=8,
        upsample_rates=[16, 16],
        upsample_kernel_sizes=[32, 32],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    SpeechT5HifiGan(config).save_pretrained(tmp_path / "hf")
    maker = load_hifigan(tmp_path / "hf")
    units = np.array([1, 1, 5, 9])
    with pytest.raises(InputError, match="train the vocoder with that model's"):
        speak(units, trained, maker)
    vocoder = UnitVocoder(40, trained.timing, maker.conf, [], width=8)
    vocoder.mel_of.typical.normal_()
    wave = speak(units, vocoder, maker)
    assert wave.shape == (3 * 320 + 400,) and np.abs(wave).max() > 0
    assert np.array_equal(wave, speak(units, vocoder, maker, seed=5))  # nothing is random


def test_the_distance_to_the_recordings_goes_into_the_decoders_report(world, few, tmp_path, capsys):
    few.write_text(few.read_text(encoding="utf-8") + "zzz\n", encoding="utf-8")
    make(world, few, tmp_path / "speech")
    (tmp_path / "decode.json").write_text('{"decode_seconds": 3.0}')
    arguments = f"--ref {world.held_out} --hyp {tmp_path}/speech --decode_json {tmp_path}/decode.json"
    with pytest.raises(InputError, match=r"lacks 1 utterances of .*zzz"):
        score_speech.main([*arguments.split(), "--out", str(tmp_path / "out.json")])
    arguments += f" --skip {tmp_path}/speech/synthesis.json"
    assert score_speech.main([*arguments.split(), "--out", str(tmp_path / "out.json")]) == 0
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["decode_seconds"] == 3.0 and stored["compared"] == 4 and stored["not_compared"] == 1
    assert stored["mcd_db"] > 0 and 0.9 < stored["speech_length_ratio"] < 1.1
    assert "MCD" in capsys.readouterr().out


def test_speech_of_a_single_unit_is_compared_too(world, few, tmp_path):
    utt, *others = read_table(few).items()
    few.write_text("".join(f"{u} {v}\n" for u, v in [(utt[0], utt[1][0]), *others]), encoding="utf-8")
    make(world, few, tmp_path / "speech")
    assert soundfile.info(tmp_path / "speech" / "wavs" / f"{utt[0]}.wav").frames == 400
    out = tmp_path / "out.json"
    assert score_speech.main(f"--ref {world.held_out} --hyp {tmp_path}/speech --out {out}".split()) == 0
    assert json.loads(out.read_text())["compared"] == 4


def test_wrong_options_are_named(world, few, tmp_path):
    with pytest.raises(InputError, match="4 utterances have no transcript"):
        make(world, few, tmp_path / "a", text={})
    with pytest.raises(InputError, match="own voices, utt2spk is needed"):
        make(world, few, tmp_path / "a", own_voice=True)
    with pytest.raises(InputError, match="shard 3 of 2"):
        make(world, few, tmp_path / "a", shard=(3, 2))
