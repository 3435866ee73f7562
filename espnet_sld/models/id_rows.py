"""Many transcripts in little memory."""

from array import array
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from espnet_sld.errors import InputError


class IdRows:
    """Transcripts as ids, four bytes a token and eight a transcript: LibriSpeech's LM text has 40 million.

    Args:
        rows: of each transcript its ids; read once, in their order. Empty ones are counted but not kept.

    Attributes:
        given: transcripts with the empty ones.
    """

    def __init__(self, rows: Iterable[Sequence[int]]):
        ids, ends, self.given = array("i"), array("q", [0]), 0
        for row in rows:
            self.given += 1
            if len(row):
                ids.extend(row)
                ends.append(len(ids))
        self._ids = torch.frombuffer(ids, dtype=torch.int32) if ids else torch.empty(0, dtype=torch.int32)
        self._ends = torch.frombuffer(ends, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> Tensor:
        """The ids of a transcript, (L,) int64."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._ids[self._ends[place] : self._ends[place + 1]].long()

    @property
    def tokens(self) -> int:
        """Ids of all transcripts."""
        return len(self._ids)

    def check(self, first: int, last: int) -> None:
        """Raise InputError, which describes the first transcript that has ids outside first … last."""
        wrong = (self._ids < first) | (self._ids > last)
        if not wrong.any():
            return
        place = int(torch.searchsorted(self._ends, wrong.int().argmax(), right=True)) - 1
        row = self[place]
        raise InputError(
            f"a transcript of the teacher has ids from {int(row.min())} to {int(row.max())}; its tokens are "
            f"{first} to {last}: was it made with another token list?"
        )
