"""Decode utterances with a CTC recogniser, greedily and in batches."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
import torch

from espnet_sld.inference.batching import decode_batches
from espnet_sld.inference.ctc_greedy import greedy_ctc
from espnet_sld.models.ctc import CtcRecogniser


class Heard(Protocol):
    """What is heard of utterances: unit tokens (T,) int64 or samples (S,) float32."""

    def load(self, utterance: str) -> np.ndarray:
        """Of one utterance."""
        ...


class Recognised(NamedTuple):
    """What greedy decoding finds in one utterance.

    Attributes:
        tokens: target ids (L,), without blanks. score: log-probability of the path.
        frames: where each token begins. probabilities: of each token at that frame.
        num_frames: after subsampling; 0 = too short to be heard at all.
    """

    tokens: list[int]
    score: float
    frames: list[int]
    probabilities: list[float]
    num_frames: int


UNHEARD = Recognised([], 0.0, [], [], 0)


def decode_greedy(
    model: CtcRecogniser,
    speech: Heard,
    utterances: Sequence[str],
    *,
    batch_size: int = 0,
    batch_tokens: int = 16384,
    window: int = 1024,
) -> Iterator[tuple[str, Recognised]]:
    """Yield (utterance, what was found), in the order given.

    Args:
        model: in eval mode, on its device.
        batch_size: utterances a batch, alike in length; 0 = as many as `batch_tokens` allows.
        batch_tokens: padded unit tokens of a batch, or frames of filterbanks.
        window: utterances read ahead and sorted by length.
    """
    iterator = iter(utterances)
    while names := list(islice(iterator, window)):
        rows = [speech.load(name) for name in names]
        found = recognise_rows(model, rows, batch_size=batch_size, batch_tokens=batch_tokens)
        yield from zip(names, found, strict=True)


@torch.no_grad()
def recognise_rows(
    model: CtcRecogniser, rows: Sequence[np.ndarray], *, batch_size: int = 0, batch_tokens: int = 16384
) -> list[Recognised]:
    """Greedy decoding of unit tokens (T,) or samples (S,); see `decode_greedy`."""
    if model.training:
        raise ValueError("call model.eval() first: dropout would change the result")
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    frames = model.encoder.output_lengths(lengths).tolist()
    device = next(model.parameters()).device
    heard = [place for place, count in enumerate(frames) if count > 0 and len(rows[place])]
    sizes = [len(rows[place]) for place in heard]
    if batch_size > 0:
        order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    else:
        step = getattr(model.encoder.source, "hop", 1)  # samples of a frame
        batches = decode_batches(sizes, batch_tokens * step)
    found = [UNHEARD] * len(rows)
    for batch in batches:
        places = [heard[index] for index in batch]
        samples = [sizes[index] for index in batch]  # or units
        x = np.zeros((len(places), max(samples)), dtype=rows[places[0]].dtype)
        for row, place in enumerate(places):
            x[row, : len(rows[place])] = rows[place]
        logits, real = model.logits(torch.from_numpy(x).to(device), torch.tensor(samples, device=device))
        paths = greedy_ctc(logits, real)
        columns = (paths.lists(), paths.scores.tolist(), paths.frame_lists(), paths.probability_lists())
        for place, *values in zip(places, *columns, strict=True):
            found[place] = Recognised(*values, num_frames=frames[place])
    return found
