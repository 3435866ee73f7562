"""Digits in synthetic voices: every voice says every digit, the same bytes from the same seed."""

from collections import Counter

import pytest

from espnet_sld.bin import prepare_voices
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.grammar import DIGITS
from espnet_sld.corpus.spoken_digits import plan_digits
from espnet_sld.corpus.synthetic import HELD_OUT_VOICES, TRAINING_VOICES


def test_every_held_out_voice_says_every_digit_as_often(tmp_path):
    planned = plan_digits("voices", 3, 0)
    assert set(Counter((spoken.voice, spoken.sentence) for spoken in planned).values()) == {3}
    assert {spoken.sentence for spoken in planned} == set(DIGITS)
    assert {spoken.voice for spoken in planned} == set(HELD_OUT_VOICES.values())
    assert not {spoken.voice for spoken in planned} & set(TRAINING_VOICES.values())


@pytest.mark.slow
def test_the_set_is_whole_and_a_second_call_makes_the_same(tmp_path):
    assert prepare_voices.main(["--data_dir", str(tmp_path), "--per_digit", "1"]) == 0
    data = DataDir.read(tmp_path / "voices")
    assert len(data.text) == 40 and set(data.utt2spk.values()) == set(HELD_OUT_VOICES)
    assert all(0.1 < seconds < 2.0 for seconds in data.utt2dur.values())
    waves = {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("wavs/*/*.wav")
    }
    prepare_voices.main(["--data_dir", str(tmp_path), "--per_digit", "1"])
    again = {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("wavs/*/*.wav")
    }
    assert len(waves) == 40 and again == waves
