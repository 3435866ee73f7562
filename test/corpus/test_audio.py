"""Reading audio: what comes out is right, and what cannot be read is refused by name."""

import io
import re
import shutil
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from espnet_sld.corpus.audio import read_audio, utterances
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.corpus.sources import ogg_ends
from espnet_sld.corpus.speed import parse_factors, perturb, speed_perturb
from espnet_sld.errors import InputError

RATE = 16000


def tone(seconds: float = 0.5, rate: int = RATE, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def peak(samples: np.ndarray, rate: int = RATE) -> float:
    """Strongest frequency in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * rate / len(samples))


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", tone(), RATE)
    return tmp_path / "tone.wav"


@pytest.fixture(scope="module")
def flac(librispeech_dir: Path) -> Path:
    return min((librispeech_dir / "test-clean").rglob("*.flac"), key=lambda path: (path.stat().st_size, path))


def test_real_flac_is_read_sample_for_sample(flac):
    expected, rate = soundfile.read(flac, dtype="float32")
    assert rate == RATE
    samples = read_audio(flac)
    assert samples.dtype == np.float32 and np.array_equal(samples, expected)


def test_real_8_khz_speech_is_resampled_to_twice_the_samples(fsdd_dir):
    path = fsdd_dir / "recordings/7_george_0.wav"
    frames = soundfile.info(path).frames
    assert abs(len(read_audio(path)) - 2 * frames) <= 1
    with pytest.raises(InputError, match="sampling rate 8000 Hz, expected 16000 Hz"):
        read_audio(path, expected_rate=16000)


def test_resampling_keeps_the_pitch(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 44100), 44100)
    samples = read_audio(tmp_path / "a.wav")
    assert abs(len(samples) - RATE) <= 1 and peak(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch_as_sox_speed(wav, speed):
    plain, fast = read_audio(wav), read_audio(wav, speed=speed)
    assert abs(len(fast) - len(plain) / speed) <= 1
    assert peak(fast) == pytest.approx(440 * speed, abs=3)


def test_a_part_is_cut_before_the_speed_factor(wav):
    assert np.array_equal(read_audio(wav, start=0.1, end=0.3), read_audio(wav)[1600:4800])
    assert abs(len(read_audio(wav, start=0.1, end=0.3, speed=2.0)) - 1600) <= 1
    with pytest.raises(InputError, match="does not lie in the recording"):
        read_audio(wav, start=0.6, end=0.7)
    with pytest.raises(InputError, match="does not lie in the recording"):
        read_audio(wav, start=0.1, end=5.0)


@pytest.mark.parametrize("options", [{"write_function": "soundfile"}, {}], ids=["marked", "plain wav"])
def test_audio_in_an_ark_is_the_audio_in_the_file(options, tmp_path):
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/a.ark,{tmp_path}/a.scp", **options) as out:
        out("a", (RATE, (tone() * 32767).astype(np.int16)))
        out("b", (RATE, (tone(frequency=880.0) * 32767).astype(np.int16)))
    soundfile.write(tmp_path / "b.wav", tone(frequency=880.0), RATE)
    entries = dict(line.split() for line in (tmp_path / "a.scp").read_text().splitlines())
    samples = read_audio(entries["b"])
    np.testing.assert_allclose(samples, read_audio(tmp_path / "b.wav"), atol=1e-4)


def test_an_integer_wav_in_an_ark_has_full_scale_one(tmp_path):
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/a.ark,{tmp_path}/a.scp") as out:
        out("a", (RATE, np.array([0, 16384, -32768], np.int16)))
    source = (tmp_path / "a.scp").read_text().split()[1]
    assert np.array_equal(read_audio(source), np.array([0, 0.5, -1], np.float32))


def test_flac_in_an_ark_is_read(flac, tmp_path):
    (tmp_path / "a.ark").write_bytes(b"a " + flac.read_bytes())
    assert np.array_equal(read_audio(f"{tmp_path}/a.ark:2"), read_audio(flac))


@pytest.mark.parametrize("options", [{"write_function": "soundfile"}, {}], ids=["marked", "plain wav"])
def test_a_truncated_ark_is_refused(options, tmp_path):
    with kaldiio.WriteHelper(f"ark,scp:{tmp_path}/a.ark,{tmp_path}/a.scp", **options) as out:
        out("a", (RATE, (tone() * 32767).astype(np.int16)))
    content = (tmp_path / "a.ark").read_bytes()
    (tmp_path / "a.ark").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="truncated"):
        read_audio((tmp_path / "a.scp").read_text().split()[1])


def test_an_ark_is_never_unpickled(tmp_path):
    (tmp_path / "a.ark").write_bytes(b"a PKLcos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="no audio at this offset"):
        read_audio(f"{tmp_path}/a.ark:2")


def test_features_in_an_ark_are_not_taken_for_audio(tmp_path):
    kaldiio.save_ark(str(tmp_path / "a.ark"), {"a": np.zeros((3, 4), np.float32)})
    with pytest.raises(InputError, match="no audio at this offset"):
        read_audio(f"{tmp_path}/a.ark:2")


def test_pipes_run_only_where_allowed_and_without_a_shell(wav, tmp_path):
    with pytest.raises(InputError, match="--allow_pipes true"):
        read_audio(f"cat {wav} |")
    assert np.array_equal(read_audio(f"cat {wav} |", allow_pipes=True), read_audio(wav))
    assert np.array_equal(read_audio(f"cat '{wav}' | cat |", allow_pipes=True), read_audio(wav))
    shutil.copy(wav, tmp_path / "take#2.wav")
    assert np.array_equal(read_audio(f"cat {tmp_path}/take#2.wav |", allow_pipes=True), read_audio(wav))
    for command in (
        f"cat {wav}; touch {tmp_path}/x |",
        f"cat < {wav} |",
        "cat $(ls) |",
        f"cat {wav} && id |",
    ):
        with pytest.raises(InputError, match="without one"):
            read_audio(command, allow_pipes=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no_such_program_here x |", "cannot run"),
        ("false |", "exit code 1"),
        ("true |", "wrote nothing"),
        ("| cat", "not of the form"),
        ("cat 'x |", "quotes"),
        ("echo hello |", "cannot be decoded"),
    ],
)
def test_a_failing_pipe_says_why(command, message):
    with pytest.raises(InputError, match=message):
        read_audio(command, allow_pipes=True, name="utt1")


def broken_files(folder: Path, flac: Path) -> dict[str, Path]:
    """Every way in which an audio file can be unusable."""
    soundfile.write(folder / "good.wav", tone(), RATE)
    whole, compressed = (folder / "good.wav").read_bytes(), flac.read_bytes()
    files = {
        "truncated.wav": whole[: len(whole) // 2],
        "header_only.wav": whole[:44],
        "text.wav": b"just some words\n" * 20,
        "empty.wav": b"",
        "truncated.flac": compressed[: len(compressed) // 2],
        "corrupt.flac": compressed[:20000] + bytes(4000) + compressed[24000:],
        "tail.flac": compressed[:-300],
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    soundfile.write(folder / "no_samples.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(folder / "no_samples.flac", np.zeros(0, np.float32), RATE)
    samples = tone()
    samples[100] = np.nan
    soundfile.write(folder / "nan.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "stereo.wav", np.stack([tone(), tone()], 1), RATE)
    (folder / "folder.wav").mkdir()
    names = [
        *files,
        "no_samples.wav",
        "no_samples.flac",
        "nan.wav",
        "stereo.wav",
        "folder.wav",
        "missing.wav",
    ]
    return {name: folder / name for name in names}


def test_every_unusable_file_is_refused_by_name_with_a_remedy(flac, tmp_path):
    for name, path in broken_files(tmp_path, flac).items():
        with pytest.raises(InputError) as caught:
            read_audio(path, name="spk-utt7")
        message = str(caught.value)
        assert name in message and "spk-utt7" in message and ";" in message, message


@pytest.mark.parametrize("container", ["WAV", "AIFF", "NIST", "RF64", "FLAC"])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused_whatever_its_container(container, kept, tmp_path):
    path = tmp_path / "a.sound"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    soundfile.write(path, noise, 16000, format=container, subtype="PCM_16")
    assert len(read_audio(path)) == 16000
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match="truncated"):
        read_audio(path)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_an_ogg_cut_anywhere_is_refused(codec, tmp_path):
    path = tmp_path / "a.ogg"
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 5 * 16000)
    soundfile.write(path, noise, 16000, format="OGG", subtype=codec)
    assert len(read_audio(path)) == len(noise)
    whole = path.read_bytes()
    pages = [match.start() for match in re.finditer(b"OggS", whole)]
    for end in (*pages[2:], len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="truncated, this Ogg stream has no end"):
            read_audio(path)


def test_the_letters_of_an_ogg_page_may_be_part_of_the_audio():
    page = b"OggS\0\4" + bytes(20) + b"\1\12" + b"12OggS3456"
    assert ogg_ends(io.BytesIO(page)) and not ogg_ends(io.BytesIO(page[:-1]))
    assert not ogg_ends(io.BytesIO(page.replace(b"\0\4", b"\0\0", 1)))
    assert ogg_ends(io.BytesIO(b"RIFF")) and ogg_ends(io.BytesIO(b""))


def test_stereo_is_averaged_where_asked(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.stack([tone(), -tone()], 1), RATE, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "s.wav", channels="mean")).max() == 0


def test_utterances_of_a_recording_decode_it_once(wav, monkeypatch):
    import espnet_sld.corpus.audio as audio

    calls = []
    original = audio.load
    monkeypatch.setattr(
        audio, "load", lambda *args, **kwargs: calls.append(args) or original(*args, **kwargs)
    )
    spans = {"a": Span("r", 0.0, 0.1), "b": Span("r", 0.1, -1), "c": Span("r", 0.0, 0.2)}
    data = DataDir({"r": str(wav)}, {utt: utt for utt in spans}, segments=spans)
    found = dict(utterances(data))
    assert len(calls) == 1
    assert [len(found[utt]) for utt in "abc"] == [1600, 6400, 3200]
    whole = read_audio(wav)
    assert np.array_equal(found["b"], whole[1600:])


def test_unreadable_utterances_stop_the_reader_unless_collected(wav):
    data = DataDir({"a": "/gone.wav", "b": str(wav)}, {"a": "a", "b": "b"})
    with pytest.raises(InputError, match=r"/gone\.wav"):
        list(utterances(data))
    errors = {}
    assert [utt for utt, _ in utterances(data, on_error=errors.__setitem__)] == ["b"]
    assert list(errors) == ["a"]


def test_speed_sets_have_prefixed_ids_and_the_reader_applies_the_factor(wav, tmp_path):
    data = DataDir({"s-u": str(wav)}, {"s-u": "s"}, {"s-u": "hello"}, utt2dur={"s-u": 0.5})
    original = data.write(tmp_path / "org/train")
    result = speed_perturb(original, tmp_path / "train", parse_factors("0.9 1.0 1.1"))
    assert [Path(path).name for path in result] == ["train_sp0.9", "train_sp1.1", "train_sp"]
    union = DataDir.read(tmp_path / "train_sp", check_files=True)
    assert union.utterances == ["s-u", "sp0.9-s-u", "sp1.1-s-u"]
    assert union.utt2spk["sp0.9-s-u"] == "sp0.9-s" and union.utt2speed["s-u"] == 1.0
    assert set(union.wav.values()) == {str(wav)} and set(union.text.values()) == {"hello"}
    lengths = {utt: len(samples) for utt, samples in utterances(union)}
    for utt, length in lengths.items():
        assert length / RATE == pytest.approx(union.utt2dur[utt], abs=1e-3)
    assert lengths["sp1.1-s-u"] < lengths["s-u"] < lengths["sp0.9-s-u"]


def test_speed_sets_of_segments_keep_the_times_of_the_recording(wav):
    data = DataDir({"r": str(wav)}, {"s-u": "s"}, {"s-u": "w"}, {"s-u": Span("r", 0.1, 0.3)})
    fast = perturb(data, 1.1)
    assert fast.segments == {"sp1.1-s-u": Span("sp1.1-r", 0.1, 0.3)}
    (samples,) = dict(utterances(fast)).values()
    assert abs(len(samples) - 3200 / 1.1) <= 1


def test_a_perturbed_set_is_not_perturbed_again(wav):
    once = perturb(DataDir({"u": str(wav)}, {"u": "u"}), 0.9)
    with pytest.raises(InputError, match="already"):
        perturb(once, 0.9)


@pytest.mark.parametrize("factors", ["", "fast", "1.1 1.1", "0", "3"])
def test_senseless_factors_are_refused(factors):
    with pytest.raises(InputError, match="--factors"):
        parse_factors(factors)
