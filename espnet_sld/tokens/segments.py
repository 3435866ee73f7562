"""Typed pieces of a sequence, and the codes that batches carry for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NONE, TEXT, SPEECH, IMAGE = 0, 1, 2, 3
KIND_CODES = {"text": TEXT, "speech": SPEECH, "image": IMAGE}


@dataclass(frozen=True)
class Segment:
    """A run of tokens of one modality, or special tokens.

    Attributes:
        kind: "text", "speech", "image" or "special".
        ids: the modality's own ids, int64 (N,); for "special" the tokens' names.
        role: "condition" (known at test time) or "target" (to be generated).
        counts_as: for specials, the modality whose target the token is; None = never a target.
    """

    kind: str
    ids: np.ndarray | Sequence[str]
    role: str = "condition"
    counts_as: str | None = None

    def __post_init__(self) -> None:
        if self.kind != "special" and self.kind not in KIND_CODES:
            raise ValueError(f"segment kind '{self.kind}': must be special or one of {' '.join(KIND_CODES)}")
        if self.role not in ("condition", "target"):
            raise ValueError(f"segment role '{self.role}': must be condition or target")

    @property
    def code(self) -> int:
        """The kind code of this segment's tokens when they are targets."""
        if self.kind == "special":
            return NONE if self.counts_as is None else KIND_CODES[self.counts_as]
        return KIND_CODES[self.kind]

    def __len__(self) -> int:
        return len(self.ids)


def special(name: str, *, counts_as: str | None = None, role: str = "condition") -> Segment:
    """One special token as a segment."""
    return Segment("special", (name,), role, counts_as)
