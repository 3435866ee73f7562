"""From an entry of wav.scp to mono float32 samples at one sampling rate."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from espnet_sld.corpus.checks import ARK, UNTIL_END, is_pipe
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.sources import Recording, read_ark, read_file, read_pipe
from espnet_sld.errors import InputError

TARGET_RATE = 16000
# Kaldi's extract-segments forgives segments that end this much after their recording.
MAX_OVERSHOOT = 0.5


def read_audio(
    source: str | os.PathLike,
    *,
    target_rate: int = TARGET_RATE,
    expected_rate: int | None = None,
    speed: float = 1.0,
    start: float | None = None,
    end: float | None = None,
    allow_pipes: bool = False,
    channels: str = "mono",
    name: str | None = None,
) -> np.ndarray:
    """Read one utterance.

    Args:
        source: a sound file, `file.ark:offset`, or `command |`.
        target_rate: sampling rate of the result, in Hz; the recording is resampled to it (soxr).
        expected_rate: if given, a recording at any other rate is an error.
        speed: factor as of sox's `speed`: 1.1 gives n / 1.1 samples and a higher pitch.
        start, end: part of the original recording in seconds (before the speed factor).
        allow_pipes: run commands; they run without a shell.
        channels: `mono`: more than one channel is an error (they may be different speakers);
            `mean`: average them.
        name: how messages call the recording, e.g. its utterance id.

    Returns:
        samples (n,) float32, full scale ±1.

    Raises:
        InputError: naming the file (and `name`) and the remedy.
    """
    where = f"{source} ({name})" if name else str(source)
    recording = load(source, allow_pipes=allow_pipes, where=where)
    part = cut(recording, start or 0.0, UNTIL_END if end is None else end, where)
    return convert(
        part, target_rate, expected_rate=expected_rate, speed=speed, channels=channels, where=where
    )


def load(source: str | os.PathLike, *, allow_pipes: bool = False, where: str | None = None) -> Recording:
    """Decode a whole recording at its own rate: samples (frames, channels) float32."""
    source, where = str(source), where or str(source)
    if is_pipe(source):
        if not allow_pipes:
            raise InputError(
                f"{where}: is a command; it is run only with --allow_pipes true, "
                "or convert the audio to files first"
            )
        recording = read_file(io.BytesIO(read_pipe(source, where)), where)
    elif (match := ARK.match(source)) and not Path(source).exists():
        recording = read_ark(match["path"], int(match["offset"]), where)
    else:
        recording = read_file(source, where)
    if not recording.samples.shape[0]:
        raise InputError(f"{where}: holds no samples; remove it (utils/fix_data_dir --check_audio true)")
    if not np.isfinite(recording.samples).all():
        raise InputError(f"{where}: holds NaN or infinite samples; convert it again, or remove it")
    return recording


def cut(recording: Recording, start: float, end: float, where: str) -> Recording:
    """The part from `start` to `end` seconds; end −1 means until the end."""
    frames, rate = recording.samples.shape[0], recording.rate
    first = round(start * rate)
    last = frames if end == UNTIL_END else round(end * rate)
    if first >= frames or last > frames + MAX_OVERSHOOT * rate or last <= first:
        raise InputError(
            f"{where}: segment {start:g}–{end:g} s does not lie in the recording of {frames / rate:.2f} s; "
            "correct its line in segments, or remove it"
        )
    return recording if (first, last) == (0, frames) else Recording(recording.samples[first:last], rate)


def convert(
    recording: Recording,
    target_rate: int,
    *,
    expected_rate: int | None = None,
    speed: float = 1.0,
    channels: str = "mono",
    where: str = "audio",
) -> np.ndarray:
    """One channel at `target_rate`, sped up by `speed`: samples (n,) float32.

    Speed and rate change together in one resampling: audio recorded at r Hz and played at r·speed Hz.
    """
    import soxr

    samples, rate = recording.samples, recording.rate
    if expected_rate is not None and rate != expected_rate:
        raise InputError(
            f"{where}: sampling rate {rate} Hz, expected {expected_rate} Hz; convert the corpus to one rate, "
            f"give the right one, or none to have each recording resampled to {target_rate} Hz"
        )
    if samples.shape[1] > 1 and channels == "mono":
        raise InputError(
            f"{where}: {samples.shape[1]} channels, expected one; split them into recordings of their own, "
            "or average them with --channels mean"
        )
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not speed > 0:
        raise InputError(f"{where}: speed factor {speed:g} is not positive; see utt2speed")
    if rate * speed != target_rate:
        mono = soxr.resample(mono, rate * speed, target_rate)
    if not mono.size:
        raise InputError(f"{where}: too short to be resampled ({samples.shape[0]} samples); remove it")
    return np.ascontiguousarray(mono, dtype=np.float32)


def utterances(
    data: DataDir,
    *,
    target_rate: int = TARGET_RATE,
    expected_rate: int | None = None,
    allow_pipes: bool = False,
    channels: str = "mono",
    on_error: Callable[[str, InputError], None] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (utterance id, samples (n,) float32), every recording decoded once.

    Utterances come in C order, but those of one recording together. Speed factors are applied.
    An utterance that cannot be read raises, or, with `on_error`, is handed to it and skipped.
    """
    by_recording: dict[str, list[str]] = {}
    for utt in data.utterances:
        by_recording.setdefault(data.span(utt).recording, []).append(utt)
    for recording_id, members in by_recording.items():
        source = data.wav[recording_id]
        try:
            recording = load(source, allow_pipes=allow_pipes, where=f"{source} ({recording_id})")
        except InputError as error:
            if on_error is None:
                raise
            for utt in members:
                on_error(utt, error)
            continue
        for utt in members:
            where, span = f"{source} ({utt})", data.span(utt)
            try:
                samples = convert(
                    cut(recording, span.start, span.end, where),
                    target_rate,
                    expected_rate=expected_rate,
                    speed=data.speed(utt),
                    channels=channels,
                    where=where,
                )
            except InputError as error:
                if on_error is None:
                    raise
                on_error(utt, error)
                continue
            yield utt, samples
