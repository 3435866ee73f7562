"""What a recogniser hears: unit tokens of a unit text, or samples of a data directory; in padded batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.tokens.subword import Tokenizer


class UnitSpeech:
    """A unit text's tokens.

    Args:
        path: `utt characters`. tokenizer: of the units.

    Attributes:
        utterances: ids. bins: what `batch_bins` counts of an utterance, here its tokens.
    """

    bins_are = "units"

    def __init__(self, path: str | Path, tokenizer: Tokenizer):
        self.path, self.tokenizer = path, tokenizer
        self.table = read_table(path)
        self.utterances = list(self.table)
        self._ids: dict[str, np.ndarray] = {}

    def length(self, utterance: str) -> int:
        """Tokens, what the encoder's `output_lengths` takes."""
        return len(self.load(utterance))

    def bins(self, utterance: str) -> int:
        """Tokens."""
        return self.length(utterance)

    def load(self, utterance: str) -> np.ndarray:
        """Tokens (T,) int64.

        Raises:
            InputError: what is no unit; names the utterance.
        """
        if utterance not in self._ids:
            try:
                ids = np.asarray(self.tokenizer.encode(self.table[utterance]), dtype=np.int32)
            except InputError as error:
                raise InputError(f"{self.path}: utterance {utterance}: {error}") from None
            self._ids[utterance] = ids
        return self._ids[utterance].astype(np.int64)

    def forget(self) -> None:
        """Tokenise anew from here on."""
        self._ids.clear()


class WaveSpeech:
    """The audio of a data directory, read when it is asked for; segments and speed factors count.

    Args:
        path: its wav.scp. rate: in Hz, to which recordings are resampled. hop: samples a frame.
    """

    bins_are = "frames"

    def __init__(self, path: str | Path, rate: int, hop: int):
        from espnet_sld.corpus.data_dir import DataDir
        from espnet_sld.corpus.durations import durations

        path = Path(path)
        if path.name != "wav.scp":
            raise InputError(f"{path}: with --input fbank speech is the wav.scp of a data directory")
        self.path, self.rate, self.hop = path, rate, hop
        self.data = DataDir.read(path.parent, text=False)
        self.utterances = self.data.utterances
        self._samples = {utterance: round(seconds * rate) for utterance, seconds in durations(self.data)}

    def length(self, utterance: str) -> int:
        """Samples by the set's tables, exact to rounding of its seconds."""
        return self._samples[utterance]

    def bins(self, utterance: str) -> int:
        """Frames."""
        return self._samples[utterance] // self.hop + 1

    def load(self, utterance: str) -> np.ndarray:
        """Samples (S,) float32."""
        from espnet_sld.corpus.audio import read_audio

        span = self.data.span(utterance)
        return read_audio(
            self.data.wav[span.recording],
            target_rate=self.rate,
            speed=self.data.speed(utterance),
            start=span.start,
            end=span.end,
            name=utterance,
        )

    def forget(self) -> None:
        """Nothing is kept."""


Speech = UnitSpeech | WaveSpeech


def padded(rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (n, …) of one type → (B, N, …), 0 at padding, and lengths (B,) int64."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    result = np.zeros((len(rows), int(lengths.max(initial=0)), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        result[place, : len(row)] = row
    return torch.from_numpy(result), torch.from_numpy(lengths)
