"""Seconds of utterances as heard, without decoding more than the set's tables leave open."""

from collections.abc import Iterable, Iterator

from espnet_sld.corpus.audio import load
from espnet_sld.corpus.checks import ARK, UNTIL_END, is_pipe
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.sources import UNKNOWN_FRAMES


def durations(
    data: DataDir, utterances: Iterable[str] | None = None, *, allow_pipes: bool = False
) -> Iterator[tuple[str, float]]:
    """Yield (utterance, seconds after the speed factor), in the order given; read as far as is iterated.

    From utt2dur, else from segments, else from the headers of the audio files (each once). Audio in arks,
    commands, and files whose header does not tell are decoded.

    Args:
        utterances: which; None for all.
        allow_pipes: run commands in wav.scp.

    Raises:
        InputError: a file that is needed cannot be read.
    """
    recordings: dict[str, float] = {}
    for utt in data.utterances if utterances is None else utterances:
        known = tabled_seconds(data, utt)
        if known is None:
            span = data.span(utt)
            if span.recording not in recordings:
                source = data.wav[span.recording]
                recordings[span.recording] = _recording_seconds(source, f"{source} ({utt})", allow_pipes)
            known = max(0.0, recordings[span.recording] - span.start) / data.speed(utt)
        yield utt, known


def tabled_seconds(data: DataDir, utt: str) -> float | None:
    """Seconds of an utterance as heard by utt2dur, else by segments; None if neither tells."""
    if data.utt2dur and utt in data.utt2dur:
        return data.utt2dur[utt]
    span = data.span(utt)
    return None if span.end == UNTIL_END else (span.end - span.start) / data.speed(utt)


def _recording_seconds(source: str, where: str, allow_pipes: bool) -> float:
    if not is_pipe(source) and not ARK.match(source):
        import soundfile

        try:
            header = soundfile.info(source)
        except (soundfile.SoundFileError, RuntimeError, OSError):
            pass  # decoding says what is wrong with the file
        else:
            if 0 < header.frames < UNKNOWN_FRAMES:
                return header.frames / header.samplerate
    recording = load(source, allow_pipes=allow_pipes, where=where)
    return len(recording.samples) / recording.rate
