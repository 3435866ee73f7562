"""Transcripts as plain text, JSON lines, SubRip subtitles (srt) and NIST's time-marked words (ctm)."""

import json
from collections.abc import Iterator

from espnet_sld.inference.transcript import Transcript, Word

FORMATS = ("txt", "jsonl", "srt", "ctm")
WITH_WORDS = ("srt", "ctm")  # formats that need the times of words
MOST_CHARACTERS, MOST_SECONDS, PAUSE = 84, 6.0, 1.0  # of one subtitle; a pause this long ends it


def render(transcript: Transcript, name: str, form: str) -> str:
    """A transcript with line ends, "" where the form has nothing to say.

    Args:
        name: of the recording: a path (txt, jsonl), or what ctm calls the file.
        form: one of `FORMATS`.
    """
    return "".join(f"{line}\n" for line in _LINES[form](transcript, name))


def _txt(transcript: Transcript, name: str) -> Iterator[str]:
    yield f"{name}\t{transcript.text}"


def _jsonl(transcript: Transcript, name: str) -> Iterator[str]:
    segments = [
        {
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
            "score": round(segment.score, 4),
            "stopped": segment.stopped,
            "loops": segment.loops,
            **({"words": [_word(word) for word in segment.words]} if segment.words else {}),
        }
        for segment in transcript.segments
    ]
    record = {
        "file": name,
        "seconds": round(transcript.seconds, 3),
        "text": transcript.text,
        "score": round(transcript.score, 4),
        "segments": segments,
    }
    yield json.dumps(record, ensure_ascii=False)


def _word(word: Word) -> dict[str, object]:
    return {
        "word": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "confidence": round(word.confidence, 4),
    }


def _ctm(transcript: Transcript, name: str) -> Iterator[str]:
    """`<file> <channel> <start> <duration> <word> <confidence>`, fields without spaces (NIST SCTK)."""
    for word in transcript.words:
        length = word.end - word.start
        yield f"{'_'.join(name.split())} 1 {word.start:.2f} {length:.2f} {word.text} {word.confidence:.4f}"


def _srt(transcript: Transcript, name: str) -> Iterator[str]:
    for number, words in enumerate(_subtitles(transcript.words), 1):
        yield str(number)
        yield f"{_clock(words[0].start)} --> {_clock(words[-1].end)}"
        yield " ".join(word.text for word in words)
        yield ""


def _subtitles(words: tuple[Word, ...]) -> Iterator[list[Word]]:
    """Words in groups that fit a subtitle."""
    group: list[Word] = []
    for word in words:
        characters = sum(len(other.text) + 1 for other in group) + len(word.text)
        if group and (
            characters > MOST_CHARACTERS
            or word.end - group[0].start > MOST_SECONDS
            or word.start - group[-1].end > PAUSE
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _clock(seconds: float) -> str:
    """`hh:mm:ss,mmm`."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


_LINES = {"txt": _txt, "jsonl": _jsonl, "srt": _srt, "ctm": _ctm}
