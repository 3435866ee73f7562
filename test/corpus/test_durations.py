"""Seconds as heard: from the tables, else from headers, equal to what decoding gives."""

import pytest

from espnet_sld.bin import fix_data_dir
from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.data_dir import DataDir, Span
from espnet_sld.corpus.durations import durations
from espnet_sld.corpus.repair import fix
from espnet_sld.errors import InputError


@pytest.fixture
def real(librispeech_dir):
    files = sorted((librispeech_dir / "test-clean").rglob("*.flac"))[:3]
    wav = {path.stem: str(path) for path in files}
    return DataDir(wav, dict.fromkeys(wav, "s"), utt2speed={utt: 0.9 + 0.1 * i for i, utt in enumerate(wav)})


def test_headers_tell_what_decoding_gives(real):
    decoded = {utt: len(samples) / 16000 for utt, samples in utterances(real)}
    assert dict(durations(real)) == pytest.approx(decoded, abs=1e-4)


def test_segments_and_utt2dur_come_first(real):
    first, second, third = real.utterances
    real.segments = {first: Span(first, 0.5, 1.5), second: Span(second, 0.25, -1), third: Span(third, 0, 2)}
    decoded = {utt: len(samples) / 16000 for utt, samples in utterances(real)}
    assert dict(durations(real)) == pytest.approx(decoded, abs=1e-4)
    real.wav = dict.fromkeys(real.wav, "gone.flac")
    assert dict(durations(real, [third, first])) == pytest.approx({third: 2 / 1.1, first: 1 / 0.9})
    real.utt2dur = {first: 7.0}
    assert list(durations(real, [first])) == [(first, 7.0)]
    with pytest.raises(InputError, match=rf"gone.flac \({second}\): no such file"):
        list(durations(real))


def test_audio_without_a_header_is_decoded(wavs, tmp_path):
    files = sorted(wavs.glob("*.wav"))
    seconds = dict(durations(DataDir({"a": str(files[0])}, {"a": "s"})))["a"]
    piped = DataDir({"a": f"cat {files[0]} |"}, {"a": "s"})
    assert dict(durations(piped, allow_pipes=True)) == {"a": seconds}
    with pytest.raises(InputError, match="--allow_pipes"):
        list(durations(piped))


def test_fix_drops_what_is_shorter_than_asked_and_lists_it(data, tmp_path, capsys):
    data.utt2dur = {utt: 0.1 * (index + 1) for index, utt in enumerate(data.utterances)}
    folder = data.write(tmp_path / "d")
    short = data.utterances[:2]
    assert fix_data_dir.main([str(folder), "--min_seconds", "0.3"]) == 0
    assert f"shorter than 0.3 s (2): {short[0]} {short[1]}" in capsys.readouterr().out
    assert DataDir.read(folder).utterances == data.utterances[2:]
    dropped = (folder / ".backup/dropped").read_text().splitlines()
    assert dropped == [f"{utt} shorter than 0.3 s" for utt in short]
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert fix(folder, min_seconds=0.3).dropped == {}
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    with pytest.raises(InputError, match="nothing usable is left"):
        fix(folder, min_seconds=60)
    with pytest.raises(InputError, match="must not be negative"):
        fix(folder, min_seconds=-1)
