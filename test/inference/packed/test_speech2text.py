"""Raw audio with a packed model gives what the stages give."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

import espnet_sld
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.inference.archive import json_bytes, write_pack
from espnet_sld.units.unit_text import deduplicate, ids_to_text, text_to_ids


@pytest.fixture(scope="module")
def plain(packed):
    return espnet_sld.Speech2Text.from_pretrained(packed("plain"))


@pytest.fixture(scope="module")
def digit(recipe):
    """One real recording: samples at 8 kHz, and its file."""
    path = next(iter(recipe.wavs().values()))
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 8000
    return samples, path


@pytest.mark.parametrize("name", ["plain", "pieces", "joined", "bytes"])
def test_files_give_the_units_texts_and_scores_of_the_stages(recipe, packed, name):
    texts, scores = recipe.decoded(name)
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed(name))
    wavs = recipe.wavs()
    found = dict(zip(wavs, speech2text(list(wavs.values())), strict=True))
    case = speech2text.tokenizer.case
    unit_text = read_table(recipe.folder / f"dump/raw/test/text.{case}.mfcc_km12")
    assert {utterance: result.text for utterance, result in found.items()} == texts
    assert {utterance: result.segments[0].speech.text for utterance, result in found.items()} == unit_text
    for utterance, result in found.items():
        assert len(result.segments) == 1
        assert result.score == pytest.approx(float(scores[utterance]), abs=1e-3)
    assert len(set(texts.values())) > 5


def test_samples_of_any_kind_and_the_file_give_the_same(plain, digit):
    samples, path = digit
    expected = plain(path)
    whole = np.round(samples * 32768).astype(np.int16)
    stereo = np.stack([samples, samples], axis=1)
    for given in (samples, samples.astype(np.float64), whole, stereo):
        found = plain(given, 8000)
        assert (found.text, found.score) == (expected.text, pytest.approx(expected.score, abs=1e-4))
    together = plain([samples, path, whole], [8000, None, 8000])
    assert [result.text for result in together] == [expected.text] * 3


def test_a_pack_that_was_moved_gives_the_same(plain, packed, recipe, tmp_path):
    files = list(recipe.wavs().values())
    moved = shutil.copytree(packed("plain"), tmp_path / "elsewhere" / "copy")
    found = espnet_sld.Speech2Text.from_pretrained(moved)(files)
    assert [result.text for result in found] == [result.text for result in plain(files)]


def test_beam_search_may_be_asked_for(plain, digit):
    wide, greedy = plain(digit[1], beam_size=4), plain(digit[1])
    assert wide.score >= greedy.score - 1e-4
    with pytest.raises(InputError, match="no option beam;"):
        plain(digit[1], beam=4)


@pytest.mark.parametrize("name", ["plain", "pieces", "joined"])
def test_speech_tokens_have_the_frames_of_their_units(packed, recipe, name):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed(name))
    tokenizer = speech2text.tokenizer
    for path in list(recipe.wavs().values())[:8]:
        wave = speech2text.read(path)
        units = tokenizer.kmeans.assign(tokenizer.front_end.extract([wave])[0])
        speech = tokenizer([wave])[0]
        assert speech.bounds[0] == 0 and speech.bounds[-1] == len(units)
        assert len(speech.bounds) == len(speech.ids) + 1
        texts = []
        for index, (first, last) in enumerate(zip(speech.bounds, speech.bounds[1:], strict=False)):
            inside = units[first:last]
            inside = deduplicate(inside)[0] if tokenizer.case == "rm" else inside
            texts.append(ids_to_text(inside))
            if name != "pieces":
                assert tokenizer.tokenizer.decode([speech.ids[index]]) == texts[-1]
            assert speech.times[index].tolist() == pytest.approx([first * 0.04, last * 0.04])
        assert "".join(texts) == speech.text
        assert text_to_ids(speech.text, 12).max() < 12


def test_long_audio_is_cut_so_that_every_piece_fits(plain, long_recording):
    result = plain(str(long_recording))
    assert result.seconds == pytest.approx(soundfile.info(long_recording).duration)
    assert len(result.segments) > 10
    edges = [round(16000 * edge) for part in result.segments for edge in (part.start, part.end)]
    assert edges == sorted(edges) and edges[-1] <= 16000 * result.seconds
    for segment in result.segments:
        assert len(segment.speech.ids) <= 96 - 8 - 2
        assert segment.end - segment.start <= plain.piece_seconds + 0.01
    assert result.text == " ".join(segment.text for segment in result.segments if segment.text)
    samples, rate = soundfile.read(long_recording, dtype="float32")
    for segment in result.segments[:3]:  # a piece alone is what it was in the whole
        alone = plain(samples[round(segment.start * rate) : round(segment.end * rate)], rate)
        assert alone.text == segment.text


def test_segments_are_as_short_as_asked_for(plain, long_recording):
    result = plain(str(long_recording), max_segment_seconds=1.5)
    assert max(segment.end - segment.start for segment in result.segments) <= 1.51
    with pytest.raises(InputError, match="must be at least"):
        plain(str(long_recording), max_segment_seconds=0.01)


def test_a_recording_with_more_tokens_than_expected_is_cut_again(packed, recipe, long_recording):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed("joined"))
    speech2text.max_seconds = speech2text.piece_seconds = 15.0  # far more than what fits
    for segment in speech2text(str(long_recording)).segments:
        assert len(segment.speech.ids) <= 96 - 8 - 2


@pytest.mark.parametrize("name", ["plain", "pieces", "bytes"])
def test_words_lie_in_order_within_their_segment(packed, recipe, long_recording, name):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed(name))
    results = [*speech2text(list(recipe.wavs().values())[:5], word_times=True)]
    results.append(speech2text(str(long_recording), word_times=True))
    seen = 0
    for result in results:
        for segment in result.segments:
            assert [word.text for word in segment.words] == segment.text.split()
            times = [time for word in segment.words for time in (word.start, word.end)]
            assert times == sorted(times)
            assert all(segment.start - 1e-6 <= time <= segment.end + 0.05 for time in times)
            assert all(0 <= word.confidence <= 1 for word in segment.words)
            seen += len(segment.words)
    assert seen > 20


def test_what_is_no_recording_is_named(plain, digit, tmp_path):
    samples, _ = digit
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "empty.wav").touch()
    for given, rate, message in (
        (samples, None, "samples need their rate"),
        (samples[:100], 8000, "too short for one frame"),
        (samples[None, None], 8000, r"shape \(1, 1, "),
        (samples.astype(np.uint8), 8000, "type uint8"),
        (np.full(8000, np.nan), 8000, "NaN"),
        (np.zeros(0), 8000, "shape"),
        (tmp_path / "none.wav", None, r"none.wav: no such file$"),
        (tmp_path, None, "a directory"),
        (tmp_path / "text.wav", None, r"text.wav: cannot be decoded.*\(Format not recognised.\)$"),
        (tmp_path / "empty.wav", None, r"empty.wav: is empty \(0 bytes\)$"),
    ):
        with pytest.raises(InputError, match=message):
            plain(given, rate)
    with pytest.raises(InputError, match="2 recordings and 1 rates"):
        plain([samples, samples], [8000])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_a_gpu_gives_the_same_text(plain, packed, recipe):
    files = list(recipe.wavs().values())
    found = espnet_sld.Speech2Text.from_pretrained(packed("plain"), device="cuda")(files)
    same = [a.text == b.text for a, b in zip(plain(files), found, strict=True)]
    assert np.mean(same) > 0.95  # a unit near a tie may differ


def test_a_configuration_that_lacks_something_is_named(packed, tmp_path):
    for file, key in (("pack.json", "decoding"), ("pack.json", "frontend"), ("config.json", "vocabulary")):
        files = {str(p.relative_to(packed("plain"))): p for p in packed("plain").rglob("*") if p.is_file()}
        del files["manifest.json"]
        values = json.loads(files[file].read_text())
        del values[key]
        write_pack(tmp_path / "lacking", "model", {**files, file: json_bytes(values)})
        with pytest.raises(InputError, match=key):
            espnet_sld.Speech2Text.from_pretrained(tmp_path / "lacking")
    values = json.loads(files["pack.json"].read_text())
    values["token_paths"]["text"] = "../../etc/passwd"
    write_pack(tmp_path / "lacking", "model", {**files, "pack.json": json_bytes(values)})
    with pytest.raises(InputError, match="which is not in it; do not use it"):
        espnet_sld.Speech2Text.from_pretrained(tmp_path / "lacking")


def test_a_device_that_is_not_there_is_named(packed):
    with pytest.raises(InputError, match="no such device"):
        espnet_sld.Speech2Text.from_pretrained(packed("plain"), device="gpu")
