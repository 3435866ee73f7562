"""The embedded corpus: grammar, disjoint sets, determinism, continuation after a kill."""

import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import prepare_mini
from espnet_sld.corpus import espeak, grammar, synthetic
from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.repair import validate
from espnet_sld.corpus.wav import remove_others, write_wav
from espnet_sld.errors import InputError

COUNTS = {"train": 40, "dev": 10, "test": 12, "test_voices": 8}
DEFAULT = {"train": 2400, "dev": 200, "test": 340, "test_voices": 150}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    synthetic.prepare(folder, COUNTS, seed=3)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.wav"))}


def test_the_grammar_has_a_hundred_words_and_sentences_of_three_to_eight():
    assert len(grammar.vocabulary()) >= 100
    rng = random.Random(0)
    sentences = [grammar.draw(rng) for _ in range(2000)]
    lengths = Counter(len(sentence.split()) for sentence in sentences)
    assert set(lengths) == set(range(3, 9)) and lengths[3] > 400
    assert {word for sentence in sentences for word in sentence.split()} <= grammar.vocabulary()
    assert all(sentence == sentence.lower() for sentence in sentences)


def test_numbers_are_spelled_as_they_are_said():
    spelled = {n: grammar.spell(n) for n in range(1000)}
    assert len(set(spelled.values())) == 1000
    assert (spelled[0], spelled[15], spelled[40]) == ("zero", "fifteen", "forty")
    assert (spelled[100], spelled[342]) == ("one hundred", "three hundred forty two")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7])
def test_no_sentence_is_shared_between_sets(seed):
    sentences = {name: [u.sentence for u in synthetic.plan(name, n, seed)] for name, n in DEFAULT.items()}
    for name, group in sentences.items():
        assert len(set(group)) == len(group) == DEFAULT[name]
        for other, others in sentences.items():
            assert name == other or not set(group) & set(others)
    words = Counter(word for sentence in sentences["train"] for word in sentence.split())
    assert set(words) >= {w for name in DEFAULT for s in sentences[name] for w in s.split()}
    assert len(words) >= 100 and min(words.values()) >= 10
    assert sum(len(sentence.split()) for sentence in sentences["test"]) >= 1500


def test_the_table_run_has_ten_thousand_test_words():
    assert sum(len(u.sentence.split()) for u in synthetic.plan("test", 2200, 0)) >= 10000


def test_other_counts_do_not_change_the_utterances_that_stay():
    assert synthetic.plan("test", 50, 0) == synthetic.plan("test", 300, 0)[:50]
    assert synthetic.plan("test", 50, 0) != synthetic.plan("test", 50, 1)


def test_voices_speeds_and_pitches_vary_and_test_voices_are_held_out():
    train = synthetic.plan("train", 2400, 0)
    assert len({u.voice for u in train}) >= 12 and len({u.rate for u in train}) > 30
    assert len({u.pitch for u in train}) > 20
    held_out = {u.voice for u in synthetic.plan("test_voices", 150, 0)}
    variant = {voice.partition("+")[2] for voice in held_out}
    assert not held_out & {u.voice for u in train}
    assert "" not in variant and not variant & {u.voice.partition("+")[2] for u in train}


def test_more_sentences_than_the_grammar_has_is_refused(monkeypatch):
    monkeypatch.setattr(synthetic, "MAX_MISSES", 100)
    with pytest.raises(InputError, match="--num_dev 100000: the grammar has too few sentences"):
        synthetic.plan("dev", 100_000, 0)


def test_voices_really_differ():
    spectra = {}
    for voice in (*synthetic.TRAINING_VOICES.values(), *synthetic.HELD_OUT_VOICES.values()):
        samples, rate = espeak.synthesise("please set the bedroom heater", voice)
        assert rate == 22050 and np.abs(samples).max() > 0.05
        blocks = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
        power = 10 * np.log10((np.abs(np.fft.rfft(blocks)) ** 2).mean(0)[4:180] + 1e-9)
        spectra[voice] = power - power.mean()
    names = list(spectra)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert np.sqrt(np.mean((spectra[one] - spectra[other]) ** 2)) > 1.0, (one, other)  # dB


@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en+m3"])
def test_synthesis_does_not_depend_on_what_was_spoken_before(voice):
    first, _ = espeak.synthesise("open the door", voice)
    espeak.synthesise("three hundred forty two", "en-us+m1")
    second, _ = espeak.synthesise("open the door", voice)
    assert np.array_equal(first, second)


def test_breath_noise_does_not_depend_on_the_time_of_day():
    first, _ = espeak.synthesise("open the door", "en-us+f5")
    time.sleep(1.1)  # espeak-ng seeds its noise with the second
    second, _ = espeak.synthesise("open the door", "en-us+f5")
    assert np.array_equal(first, second)


def test_rate_and_pitch_change_the_speech():
    plain, _ = espeak.synthesise("open the door", "en-us")
    fast, _ = espeak.synthesise("open the door", "en-us", rate=260)
    high, _ = espeak.synthesise("open the door", "en-us", pitch=90)
    assert len(fast) < 0.9 * len(plain)
    assert not np.array_equal(high[:5000], plain[:5000])


def test_an_unknown_voice_is_named():
    with pytest.raises(InputError, match="no voice 'xx-klingon'"):
        espeak.synthesise("hello", "xx-klingon")


def test_without_the_synthesiser_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r"pip install 'espnet_sld\[mini\]'"):
        synthetic.prepare(tmp_path, COUNTS)


def test_the_corpus_is_valid_kaldi_directories_of_16_khz_16_bit_wavs(corpus):
    for name, count in COUNTS.items():
        data = validate(corpus / name, check_audio=True, expected_rate=16000)
        assert len(data) == count
        assert all(utt.startswith(speaker + "-") for utt, speaker in data.utt2spk.items())
        for utt, path in data.wav.items():
            assert soundfile.info(path).subtype == "PCM_16"
            assert len(read_audio(path)) / 16000 == pytest.approx(data.utt2dur[utt], abs=1e-4)


def test_speech_is_not_silent_and_not_clipped(corpus):
    for path in (corpus / "wavs/train").iterdir():
        samples = read_audio(path)
        assert 0.02 < np.abs(samples).max() < 0.999 and len(samples) > 8000


@pytest.mark.slow
def test_processes_do_not_change_a_byte(corpus, tmp_path):
    synthetic.prepare(tmp_path, COUNTS, seed=3, nj=2)
    assert contents(tmp_path) == contents(corpus)


def test_the_same_seed_gives_the_same_bytes_another_seed_others(corpus, tmp_path):
    few = {"train": 5, "dev": 3}
    synthetic.prepare(tmp_path / "a", few, seed=3)
    mine = contents(tmp_path / "a")
    assert mine.items() <= contents(corpus).items()
    synthetic.prepare(tmp_path / "b", few, seed=4)
    assert not set(mine.values()) & set(contents(tmp_path / "b").values())


def test_a_run_after_a_kill_makes_only_what_is_missing(tmp_path, monkeypatch):
    few = {"train": 8}
    synthetic.prepare(tmp_path, few, seed=1)
    whole = contents(tmp_path)
    names = sorted((tmp_path / "wavs/train").iterdir())
    names[0].unlink()
    names[1].write_bytes(names[1].read_bytes()[:-100])  # cut short, as after a power cut
    names[2].write_bytes(b"")
    (tmp_path / "wavs/train/.x.wav.abc.tmp").write_bytes(b"half")
    (tmp_path / "wavs/train/us_m1-train-000001.0123456789.wav").write_bytes(b"of other options")
    spoken = []
    original = synthetic.speak
    monkeypatch.setattr(synthetic, "speak", lambda u, path: spoken.append(path) or original(u, path))
    synthetic.prepare(tmp_path, few, seed=1)
    assert sorted(spoken) == names[:3]
    assert contents(tmp_path) == whole
    assert len(list((tmp_path / "wavs/train").iterdir())) == 8


def test_another_seed_into_the_same_folder_replaces_the_audio(tmp_path):
    synthetic.prepare(tmp_path / "a", {"dev": 4}, seed=1)
    synthetic.prepare(tmp_path / "a", {"dev": 4}, seed=2)
    synthetic.prepare(tmp_path / "b", {"dev": 4}, seed=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("wrong", [{"train": 0}, {"holiday": 5}])
def test_senseless_counts_are_refused(wrong, tmp_path):
    with pytest.raises(InputError, match="sets are"):
        synthetic.prepare(tmp_path, wrong)


@pytest.mark.slow
def test_the_command_reports_counts(tmp_path, capsys):
    options = [f"--num_{name}={count}" for name, count in COUNTS.items()]
    assert prepare_mini.main(["--data_dir", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert "vocabulary" in out and "hours" in out and "test_voices" in out


def test_a_full_disk_is_an_os_error_and_leaves_no_file(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_wav(tmp_path / "a.wav", np.zeros(50_000, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_only_files_named_by_us_are_removed(tmp_path):
    old, mine = "us-train-000001.0123456789.wav", "my_recording.wav"
    for name in (old, mine, f".{old}.x1y2.tmp", "notes.tmp"):
        (tmp_path / name).touch()
    remove_others(tmp_path, set())
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine, "notes.tmp"]
