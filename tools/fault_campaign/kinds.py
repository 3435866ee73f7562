"""The kinds of malformed data directories, audio files and places of the campaign."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import soundfile
from spoilt import BAD, Kind, Place

# What messages have: where, and the remedy.
IN_SCP, DROPS, FIX = "data/train/wav.scp", "dropped, ", "utils/fix_data_dir data/train"
AUDIO = (f"data/wavs/{BAD}.wav", BAD, "utils/fix_data_dir --check_audio true")


def _with(place: Place, content: bytes) -> None:
    place.audio().write_bytes(content)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _silence(place: Place) -> None:
    place.write(place.samples() * 0)


def _hole(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(500) + content[2500:])


def _reverse(place: Place) -> None:
    lines = place.table("text").read_text().splitlines(keepends=True)
    place.table("text").write_text("".join(reversed(lines)))


def _nan(place: Place) -> None:
    samples = place.samples()
    samples[100:110] = np.nan
    place.write(samples, subtype="FLOAT")


def _stereo(place: Place) -> None:
    samples = place.samples()
    place.write(np.stack([samples, samples[::-1]], 1))


def _other_rate(place: Place) -> None:
    place.write(np.repeat(place.samples(), 2), 11025)


def _all_silent(place: Place) -> None:
    for path in (place.folder / "data" / "wavs").iterdir():
        soundfile.write(path, np.zeros(8000), 8000)


def _ark(place: Place, cut: int = 0, content: bytes = b"") -> None:
    memory = io.BytesIO()
    soundfile.write(memory, place.samples(), 8000, format="WAV", subtype="PCM_16")
    whole = content or memory.getvalue()
    (place.folder / "data" / "a.ark").write_bytes(b"key " + whole[: len(whole) - cut])
    place.edit("wav.scp", f"{BAD} data/wavs/{BAD}.wav", f"{BAD} data/a.ark:4")


def _rename(place: Place, new: str, *, tables: tuple[str, ...] = ("wav.scp", "text", "utt2spk")) -> None:
    for name in tables:
        place.edit(name, f"{BAD} ", f"{new} ")
        lines = sorted(place.table(name).read_text().splitlines(keepends=True))
        place.table(name).write_text("".join(lines))


def _read_only(place: Place) -> None:
    for path in sorted((place.folder / "exp").rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o555)
    (place.folder / "exp").chmod(0o555)


def _locked(path: Path, mode: int = 0) -> None:
    path.chmod(mode)


KINDS = {
    # -- audio
    "truncated_flac": Kind(
        "a FLAC cut short", lambda p: p.cut(p.audio("george-3"), 300), 3,
        ("data/wavs/george-3.flac (george-3)", "truncated or corrupt", AUDIO[2]), DROPS + "unreadable audio"),
    "truncated_ogg": Kind(
        "an Ogg Vorbis cut short", lambda p: p.cut(p.audio("george-4"), 300), 3,
        ("data/wavs/george-4.ogg (george-4)", "truncated", AUDIO[2]), DROPS + "unreadable audio"),
    "truncated_wav": Kind(
        "a WAV cut short", lambda p: p.cut(p.audio(), 300), 3,
        (*AUDIO, "truncated, 300 bytes are missing"), DROPS + "unreadable audio"),
    "zero_bytes": Kind(
        "a WAV of 0 bytes", lambda p: _with(p, b""), 1,
        (f"{IN_SCP}:3: {BAD}", "0 bytes", FIX), DROPS + "empty file"),
    "header_only": Kind(
        "a WAV without samples", lambda p: p.write(np.zeros(0)), 3, AUDIO, DROPS + "unreadable audio"),
    "text_as_wav": Kind(
        "a text file renamed to .wav", lambda p: _with(p, b"some words\n" * 99), 3,
        (*AUDIO, "cannot be decoded"), DROPS + "unreadable audio"),
    "corrupt_flac": Kind(
        "a FLAC with a hole", lambda p: _hole(p.audio("george-3")), 3,
        ("data/wavs/george-3.flac (george-3)", AUDIO[2]), DROPS + "unreadable audio"),
    "nan_samples": Kind(
        "samples that are not numbers", _nan, 3,
        (AUDIO[0], BAD, "NaN", "remove"), DROPS + "unreadable audio"),
    "other_rate": Kind(
        "a recording of another sampling rate", _other_rate, 0, (),
        outcome="accepted: resampled to 16 kHz as all; `validate_data_dir --fs 8000` names it"),
    "stereo": Kind(
        "a recording of two channels", _stereo, 3, (AUDIO[0], BAD, "2 channels", "--channels mean"),
        DROPS + "unreadable audio"),
    "stereo_averaged": Kind(
        "two channels, with --channels mean", _stereo, 0, (), options=("--channels", "mean"),
        outcome="accepted: averaged"),
    "one_frame": Kind(
        "an utterance of one frame (25 ms)", lambda p: p.write(p.samples()[:201]), 0, (),
        outcome="accepted: one unit"),
    "too_short": Kind(
        "utterances too short for a frame",
        lambda p: [soundfile.write(p.audio(u), p.samples()[:150], 8000) for u in (BAD, "jackson-1")], 3,
        (f"utterance {BAD}: 0.0187 s", "utterance jackson-1: 0.0187 s", "2 utterances are too short",
         "utils/fix_data_dir --min_seconds 0.025"), DROPS + "shorter than"),
    "silence": Kind(
        "an utterance of digital silence", _silence, 0, (), outcome="accepted: it has units as all"),
    "all_silent": Kind(
        "digital silence in every file", _all_silent, 3,
        ("dump/raw/org/train", "fewer than 8 different frames", "use more audio")),
    "missing_audio": Kind(
        "an absolute path that is not there", lambda p: p.edit("wav.scp", f"data/wavs/{BAD}", "/no/such"), 1,
        (f"{IN_SCP}:3: {BAD}", "no such file: /no/such.wav", FIX), DROPS + "missing file"),
    "broken_link": Kind(
        "a link to nothing", lambda p: (p.audio().unlink(), p.audio().symlink_to("gone.wav")), 1,
        (f"{IN_SCP}:3: {BAD}", "no such file", FIX), DROPS + "missing file"),
    "directory_as_audio": Kind(
        "a directory in place of a recording", lambda p: _directory(p.audio()), 1,
        (f"{IN_SCP}:3: {BAD}", "no such file", FIX), DROPS + "missing file"),
    "unreadable_audio": Kind(
        "a recording that may not be read", lambda p: _locked(p.audio()), 3,
        (f"{AUDIO[0]} ({BAD})", "permission denied"), options=("--nclusters", "9"), limit="not_root"),
    "piped": Kind(
        "a command in wav.scp",
        lambda p: p.edit("wav.scp", f"data/wavs/{BAD}.wav", f"cat data/wavs/{BAD}.wav |"), 1,
        (f"{IN_SCP}:3: {BAD}", "--allow_pipes true", FIX), DROPS + "piped command"),
    "piped_allowed": Kind(
        "a command in wav.scp, with --allow_pipes true",
        lambda p: p.edit("wav.scp", f"data/wavs/{BAD}.wav", f"cat data/wavs/{BAD}.wav |"), 0, (),
        options=("--allow_pipes", "true"), outcome="accepted: run without a shell"),
    "pipe_fails": Kind(
        "a command in wav.scp that fails",
        lambda p: p.edit("wav.scp", f"data/wavs/{BAD}.wav", "cat gone |"), 3,
        ("cat gone |", BAD, "'cat' failed with exit code 1", "run the command by hand"),
        options=("--allow_pipes", "true")),
    "truncated_ark": Kind(
        "audio in an ark cut short", lambda p: _ark(p, cut=200), 3,
        ("data/a.ark:4", BAD, "the ark is truncated", AUDIO[2]), DROPS + "unreadable audio"),
    "pickle_in_ark": Kind(
        "a pickle in an ark", lambda p: _ark(p, content=b"PKL\x80\x04N."), 3,
        ("data/a.ark:4", BAD, "no audio at this offset"), DROPS + "unreadable audio"),
    # -- tables
    "no_transcript": Kind(
        "an utterance without a transcript", lambda p: p.edit("text", f"{BAD} two\n", ""), 1,
        (f"{IN_SCP}:3: {BAD}", "is not in data/train/text", FIX), DROPS + "no transcript"),
    "empty_transcript": Kind(
        "a transcript without words", lambda p: p.edit("text", f"{BAD} two", BAD), 1,
        (f"data/train/text:3: {BAD}", "empty transcript", FIX), DROPS + "empty transcript"),
    "no_speaker": Kind(
        "utt2spk lacks an utterance", lambda p: p.edit("utt2spk", f"{BAD} george\n", ""), 1,
        (f"{IN_SCP}:3: {BAD}", "no speaker", FIX), DROPS + "no speaker"),
    "duplicate_id": Kind(
        "an id twice", lambda p: p.edit("text", f"{BAD} two\n", f"{BAD} two\n{BAD} one\n"), 1,
        (f"data/train/text:4: {BAD}", "duplicate id", FIX), "mended, duplicate id: 1"),
    "two_speakers": Kind(
        "an utterance of two speakers",
        lambda p: p.edit("utt2spk", f"{BAD} george", f"{BAD} george jackson"), 1,
        (f"data/train/utt2spk:3: {BAD}", "speaker 'george jackson'", FIX), DROPS + "bad utt2spk line"),
    "unsorted": Kind(
        "an unsorted table", _reverse, 1,
        ("data/train/text:2:", "unsorted", FIX), "mended, unsorted: 1"),
    "crlf": Kind(
        "lines that end in CR LF", lambda p: p.table("text").write_bytes(
            p.table("text").read_bytes().replace(b"\n", b"\r\n")), 1,
        ("data/train/text:1:", "whitespace (12)", FIX), "mended, whitespace: 12"),
    "latin1": Kind(
        "Latin-1 in a transcript", lambda p: p.edit("text", f"{BAD} two", f"{BAD} caf\xe9"), 1,
        ("data/train/text:3:", "not UTF-8", FIX), DROPS + "no transcript"),
    "tabs": Kind(
        "tabs between the columns", lambda p: p.edit("text", f"{BAD} two", f"{BAD}\ttwo"), 1,
        (f"data/train/text:3: {BAD}", "whitespace", FIX), "mended, whitespace: 1"),
    "byte_order_mark": Kind(
        "a byte-order mark", lambda p: p.edit("text", "george-0 ", "\ufeffgeorge-0 "), 1,
        ("data/train/text:1:", "byte-order mark", FIX), "mended, whitespace: 1"),
    "control_characters": Kind(
        "a NUL in a transcript", lambda p: p.edit("text", f"{BAD} two", f"{BAD} t\0wo"), 1,
        (f"data/train/text:3: {BAD}", "U+0000", FIX), "mended, whitespace: 1"),
    "cut_table": Kind(
        "a table cut short", lambda p: p.cut(p.table("text"), 3), 1,
        ("data/train/text:", "no line end: cut short?", FIX), "mended, line ends: 1"),
    "space_in_id": Kind(
        "an id with a space", lambda p: _rename(p, "george 2"), 1,
        (IN_SCP, "george", FIX), DROPS),
    "slash_in_id": Kind(
        "an id with slashes", lambda p: _rename(p, "george/../2"), 0, (),
        outcome="accepted: ids are never made into file names"),
    "id_is_label": Kind(
        "an id equal to its first label", lambda p: _rename(p, p.labels()[0]), 0, (),
        options=("--skip_stages", "3"), outcome="accepted: it keeps its first label"),
    "segment_past_end": Kind(
        "a segment past the recording's end", lambda p: p.segments(bad=f"{BAD} 0.1 9.5"), 3,
        (AUDIO[0], BAD, "does not lie in the recording", "segments"), DROPS + "unreadable audio"),
    "negative_segment": Kind(
        "a segment of negative length", lambda p: p.segments(bad=f"{BAD} 0.4 0.1"), 1,
        (f"data/train/segments:3: {BAD}", "ends (0.1) before it starts (0.4)", FIX),
        DROPS + "bad segments line"),
    "segment_of_nothing": Kind(
        "a segment of an unknown recording", lambda p: p.segments(bad="nobody 0 1"), 1,
        (f"data/train/segments:3: {BAD}", "recording nobody is not in wav.scp", FIX), DROPS + "no audio"),
    "empty_scp": Kind(
        "an empty wav.scp", lambda p: p.table("wav.scp").write_text(""), 1,
        (IN_SCP, "no usable utterance is left", "remedy")),
    "no_scp": Kind(
        "no wav.scp", lambda p: p.table("wav.scp").unlink(), 1, ("data/train: lacks wav.scp",)),
    "directory_as_table": Kind(
        "a directory in place of a table", lambda p: _directory(p.table("text")), 1,
        ("data/train: lacks text",)),
    "no_directory": Kind(
        "no data directory", lambda p: shutil.rmtree(p.table("text").parent), 1,
        ("data/train: no such data directory", "run the stage that writes it first")),
    "unreadable_table": Kind(
        "a table that may not be read", lambda p: _locked(p.table("text")), 1,
        ("data/train/text", "permission denied"), limit="not_root"),
    # -- the place
    "read_only": Kind(
        "an experiment directory that may not be written", _read_only, 3,
        ("exp/kmeans/mfcc_9clusters", "ermission denied"), options=("--nclusters", "9"), limit="not_root"),
    "file_limit": Kind(
        "a limit on the size of files (ulimit -f)", lambda p: shutil.rmtree(p.folder / "exp"), 3,
        ("exp/kmeans/distinct_cjk_token_lists", "raise it, then run again"), limit="file_size"),
    "full_disk": Kind(
        "a full disk", lambda p: (p.folder / "full").mkdir(), 3,
        ("full/kmeans/distinct_cjk_token_lists", "no space left on the device", "run the same command again"),
        options=("--expdir", "full"), limit="full_disk"),
    "option_of_command": Kind(
        "--kmeans_feature_conf device=cuda", lambda p: None, 3, ("has no option device", "--device"),
        options=("--kmeans_feature_conf", "device=cuda")),
}  # fmt: skip
