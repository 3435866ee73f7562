"""A set for CTC training: speech, targets and, where a teacher takes part, soft labels; in padded batches."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table
from espnet_sld.models.soft_label_store import SoftLabelStore
from espnet_sld.tasks.ctc_speech import Speech, padded
from espnet_sld.tokens.target_ids import TargetIds

logger = logging.getLogger(__name__)
NAMED = 5


class CtcDataset:
    """Utterances of one set, as `StepIterFactory` takes them.

    Args:
        speech: what is heard. text: transcripts (`utt words`), of the same utterances.
        targets: their tokenizer.
        soft_labels: the teacher's, of all utterances; None = no teacher.

    Attributes:
        lengths: what `batch_bins` counts, (N,).

    Raises:
        InputError: utterances differ, a transcript has no token, or soft labels are missing.
    """

    def __init__(
        self,
        speech: Speech,
        text: str | Path,
        targets: TargetIds,
        soft_labels: SoftLabelStore | None = None,
    ):
        self.speech, self.text, self.soft_labels = speech, text, soft_labels
        transcripts = read_table(text)
        self.utterances = sorted(speech.utterances)
        for inside, outside, ours, other in (
            (speech.path, text, self.utterances, transcripts),
            (text, speech.path, transcripts, set(self.utterances)),
        ):
            if absent := [utterance for utterance in ours if utterance not in other]:
                raise InputError(
                    f"{outside}: utterance {absent[0]} of {inside} is missing ({len(absent)} in all); "
                    "both files must have the same utterances"
                )
        if not self.utterances:
            raise InputError(f"{text}: no utterance; run the stages before again")
        self.targets = [np.array(targets.encode(transcripts[name]), np.int64) for name in self.utterances]
        for name, tokens in zip(self.utterances, self.targets, strict=True):
            if not len(tokens):
                raise InputError(f"{text}: utterance {name} has no token; drop it or mend its transcript")
        if soft_labels is not None:
            lacking = [name for name in self.utterances if name not in soft_labels]
            if lacking:
                raise InputError(
                    f"{soft_labels.path}: no soft labels of {lacking[0]} and {len(lacking) - 1} more of "
                    f"{text}; run the stage that writes them"
                )
        self.lengths = np.array([speech.bins(name) for name in self.utterances], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.utterances)

    def at(self, step: int) -> "CtcDataset":
        """The same at every optimiser step."""
        return self

    def counts(self, index: int, criterion: Any) -> np.ndarray:
        """The criterion's denominators for one utterance, (P,) float64."""
        counts = criterion.counts(self.targets[index])
        return np.array([counts[name] for name in criterion.count_names], dtype=np.float64)

    def collate(self, indices: Sequence[int] | np.ndarray) -> tuple[list[str], dict[str, torch.Tensor]]:
        """Right-padded batch.

        Returns:
            ids; speech (B, T) with speech_lengths (B,), text (B, L) int64 with text_lengths (B,), lengths
            (B,) in what `batch_bins` counts, real (1,): 1.0; with a teacher soft_ids (B, L, k), soft_probs.
        """
        names = [self.utterances[int(index)] for index in indices]
        speech, speech_lengths = padded([self.speech.load(name) for name in names])
        tokens = [self.targets[int(index)] for index in indices]
        text, text_lengths = padded(tokens)
        batch = {
            "speech": speech,
            "speech_lengths": speech_lengths,
            "text": text,
            "text_lengths": text_lengths,
            "lengths": torch.from_numpy(self.lengths[np.asarray(indices, dtype=np.int64)]),
            "real": torch.ones(1),
        }
        if self.soft_labels is not None:
            found = [self.soft_labels.get(name, row) for name, row in zip(names, tokens, strict=True)]
            batch["soft_ids"], _ = padded([labels.ids.astype(np.int64) for labels in found])
            batch["soft_probs"], _ = padded([labels.probs.astype(np.float32) for labels in found])
        return names, batch

    def part(self, indices: np.ndarray, part: int, parts: int) -> tuple[list[str], dict[str, torch.Tensor]]:
        """Every `parts`-th row of a micro-batch, from row `part` on.

        Where there is none: no name, and an utterance that counts for nothing (`real` 0), so that a process
        without work makes the same exchanges as the others.
        """
        own = indices[part::parts]
        if len(own):
            return self.collate(own)
        _, batch = self.collate(indices[:1])
        return [], {**batch, "real": torch.zeros(1)}


def check_frames(
    data: CtcDataset,
    output_lengths: Callable[[torch.Tensor], torch.Tensor],
    listing: Path | None,
    *,
    refuse: bool,
) -> list[str]:
    """Utterances that have fewer frames than CTC needs for their targets; logged, and listed in a file.

    Args:
        output_lengths: of the encoder, see `SpeechEncoder.output_lengths`.
        listing: gets `utterance frames needed` lines; removed where there is nothing to list. None = no file.
        refuse: end with a message instead.

    Raises:
        InputError: refused, or an utterance has not one frame.
    """
    lengths = torch.tensor([data.speech.length(name) for name in data.utterances])
    frames = output_lengths(lengths).tolist()
    needed = [len(row) + int((row[1:] == row[:-1]).sum()) for row in data.targets]
    short = [(name, have) for name, have in zip(data.utterances, frames, strict=True) if have < 1]
    if short:
        raise InputError(
            f"{data.speech.path}: {len(short)} utterances are too short for one frame after subsampling, "
            f"e.g. {', '.join(name for name, _ in short[:NAMED])}; drop them, or subsample less"
        )
    rows = [
        (name, have, need)
        for name, have, need in zip(data.utterances, frames, needed, strict=True)
        if have < need
    ]
    if listing is not None:
        listing.unlink(missing_ok=True)
        if rows:
            with atomic_write(listing) as stream:
                stream.writelines(f"{name} {have} {need}\n" for name, have, need in rows)
    if rows:
        named = ", ".join(f"{name} ({have} of {need})" for name, have, need in rows[:NAMED])
        what = (
            f"{data.text}: {len(rows)} of {len(data)} utterances have fewer frames than CTC needs for their "
            f"targets: {named}"
        )
        if refuse:
            raise InputError(f"{what}; subsample less, take longer pieces, or give --infeasible keep")
        logger.warning("%s; CTC leaves them out, decoders do not (all in %s)", what, listing)
    return [name for name, _, _ in rows]
