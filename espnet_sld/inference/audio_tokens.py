"""Waveforms → speech tokens, as stages 4 and 5 make them, with the frames that each token covers."""

from collections.abc import Sequence

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.inference.batching import decode_batches
from espnet_sld.inference.transcript import SpeechTokens
from espnet_sld.tokens.subword import Tokenizer
from espnet_sld.units.frontends.base import FrontEnd
from espnet_sld.units.kmeans import KMeans
from espnet_sld.units.unit_text import deduplicate, ids_to_text

CASES = ("ts", "rm")  # every frame | equal neighbours joined


class AudioTokenizer:
    """Front-end, k-means and speech tokenizer in one.

    Args:
        tokenizer: of the units (`build_unit_tokenizer`).
        case: ts | rm, as the model was trained.
        device: of the assignment; the front-end brings its own.
    """

    def __init__(
        self, front_end: FrontEnd, kmeans: KMeans, tokenizer: Tokenizer, case: str, device: str = "cpu"
    ):
        if case not in CASES:
            raise InputError(f"unit case '{case}': must be {' or '.join(CASES)}")
        self.front_end, self.kmeans, self.tokenizer = front_end, kmeans, tokenizer
        self.case, self.device = case, device

    def __call__(self, waves: Sequence[np.ndarray], batch_seconds: float = 60.0) -> list[SpeechTokens]:
        """Tokens of each waveform float32 (n,) at the front-end's rate, at least one frame long.

        Args:
            batch_seconds: audio, padding included, that the front-end sees at once.
        """
        results: list[SpeechTokens | None] = [None] * len(waves)
        budget = max(1, round(batch_seconds * self.front_end.sample_rate))
        for batch in decode_batches([len(wave) for wave in waves], budget):
            features = self.front_end.extract([waves[index] for index in batch])
            for index, frames in zip(batch, features, strict=True):
                results[index] = self.tokens(self.kmeans.assign(frames, self.device))
        return results

    def tokens(self, units: np.ndarray) -> SpeechTokens:
        """Tokens of an utterance's cluster ids int64 (frames,)."""
        if self.case == "rm":
            units, durations = deduplicate(units)
        else:
            durations = np.ones(len(units), dtype=np.int64)
        text = ids_to_text(units)
        characters = piece_lengths(self.tokenizer, text)
        ends = np.concatenate([[0], np.cumsum(durations)])  # (U + 1,) frames
        bounds = ends[np.concatenate([[0], np.cumsum(characters)])]
        ids = np.asarray(self.tokenizer.encode(text), dtype=np.int64)
        return SpeechTokens(text, ids, bounds, self.front_end.frame_shift)


def piece_lengths(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Characters of `text` that each of its tokens covers, int64 (tokens,); they add up to len(text)."""
    model = getattr(tokenizer, "model", None)
    if model is None:  # a token a unit
        return np.ones(len(text), dtype=np.int64)
    # SentencePiece puts a ▁ of its own in front; an unknown piece is its surface here
    pieces = model.encode(text, out_type=str)
    lengths = np.array([len(piece.replace("▁", "")) for piece in pieces], dtype=np.int64)
    if lengths.sum() != len(text):
        raise InputError("the unit tokenizer changes its text; it is not a model of units")
    return lengths
