"""What a transcription is: text with scores, and where in the audio its words and speech tokens are."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Word:
    """A word of the hypothesis.

    Attributes:
        start, end: seconds from the beginning of the recording; approximate (see `token_times`).
        confidence: Π p of its tokens, given what came before; not calibrated.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class SpeechTokens:
    """What the model was given for a stretch of audio.

    Attributes:
        text: units as characters, as in `text.{rm,ts}.<suffix>`.
        ids: the speech tokenizer's own ids, int64 (S,).
        bounds: frames int64 (S + 1,): token i covers frames bounds[i] … bounds[i+1] − 1. Exact.
        frame_shift: seconds between frames.
    """

    text: str
    ids: np.ndarray
    bounds: np.ndarray
    frame_shift: float

    @property
    def times(self) -> np.ndarray:
        """Seconds (S, 2): start and end of each token from the beginning of the stretch."""
        edges = self.bounds * self.frame_shift
        return np.stack([edges[:-1], edges[1:]], axis=1)


@dataclass(frozen=True)
class Segment:
    """One stretch of a recording, decoded as one sequence.

    Attributes:
        start, end: seconds from the beginning of the recording.
        score: Σ log p of the generated tokens, end token included (see `Hypothesis`).
        stopped: "end", or "length" where the length bound came first. loops: the model went in circles.
        ids: the text tokenizer's own ids. speech: what the model was given, None for
            filterbanks; times from the segment's start.
        words: with times if they were asked for, else empty.
    """

    start: float
    end: float
    text: str
    score: float
    stopped: str
    loops: bool
    ids: tuple[int, ...]
    speech: SpeechTokens | None = field(repr=False)
    words: tuple[Word, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Transcript:
    """A recording's text. Audio that fits the model's positions is one segment.

    Attributes:
        seconds: length of the recording.
        segments: in the order of time; none where a long recording holds no sound.
    """

    seconds: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The segments' texts, joined by spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def score(self) -> float:
        """Sum of the segments' scores."""
        return sum(segment.score for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words with their times, if they were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)
