"""Segments → one sequence of joint ids with the kind of each token, cut to the model's positions."""

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.tokens.segments import Segment
from espnet_sld.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class Sequence:
    """One assembled sequence of L tokens.

    Attributes:
        tokens: joint ids, int64 (L,).
        kinds: uint8 (L,); `kinds[t]` is the modality that token t counts for *when it is a target*, so
            `<speech_end>` is SPEECH and `<text_end>` TEXT. Position 0 is never a target (shift).
        cut: number of condition tokens that did not fit.
        cut_target: number of target tokens over `max_target`, cut as well (only in training).
    """

    tokens: np.ndarray
    kinds: np.ndarray
    cut: int = 0
    cut_target: int = 0


def assemble(
    segments: Items[Segment], vocabulary: Vocabulary, max_positions: int, max_target: int
) -> Sequence:
    """Join segments; at most `max_positions` tokens, of which `max_target` and an end token are kept free.

    The condition gets `max_positions − max_target − specials`, whatever the target's real length, and also
    when there is no target: so training and decoding cut alike and the cut never looks at the reference.
    What is too long is cut at its end; with several condition segments the longest ones are cut.

    Args:
        segments: from a template's `training` or `prompt`.
        max_positions: the backbone's positions.
        max_target: most target tokens, the end token not counted.

    Raises:
        InputError: no position is left for the condition, or an id is outside its modality.
    """
    contents = [segment for segment in segments if segment.kind != "special"]
    conditions = [segment for segment in contents if segment.role == "condition"]
    specials = sum(len(segment) for segment in segments if segment.kind == "special")
    if not any(segment.role == "target" for segment in segments):
        specials += 1  # the end token that decoding will add
    room = max_positions - max_target - specials
    if conditions and room < 1:
        raise InputError(
            f"max_positions {max_positions} leaves no room beside {max_target} target tokens; "
            "raise max_positions or lower the target's maximum"
        )
    kept = {id(segment): len(segment) for segment in contents}
    excess = sum(kept[id(segment)] for segment in conditions) - room if conditions else 0
    cut = max(0, excess)
    while excess > 0:
        longest = max(conditions, key=lambda segment: kept[id(segment)])
        others = [kept[id(segment)] for segment in conditions if segment is not longest]
        step = min(excess, max(1, kept[id(longest)] - max(others, default=0)))
        kept[id(longest)] -= step
        excess -= step
    cut_target = 0
    for segment in contents:
        if segment.role == "target":
            kept[id(segment)] = min(len(segment), max_target, max(0, max_positions - specials))
            cut_target += len(segment) - kept[id(segment)]
    tokens, kinds = [], []
    for segment in segments:
        if segment.kind == "special":
            ids = np.array([vocabulary.id(name) for name in segment.ids], dtype=np.int64)
        else:
            ids = vocabulary.to_joint(segment.kind, segment.ids[: kept[id(segment)]])
        tokens.append(ids)
        kinds.append(np.full(len(ids), segment.code, dtype=np.uint8))
    return Sequence(np.concatenate(tokens), np.concatenate(kinds), cut, cut_target)
