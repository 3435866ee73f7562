"""Strings of digits joined from recordings: which recordings, in which order, with which silences."""

import random
from dataclasses import dataclass
from pathlib import Path

from espnet_sld.corpus.digit_grammar import Grammar, draw
from espnet_sld.corpus.grammar import DIGITS

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo")
MAX_DIGITS = 5  # of a string without a grammar
SILENCE = (0.05, 0.20)  # seconds between two digits of a string


@dataclass(frozen=True, order=True)
class Token:
    """One recording."""

    speaker: str
    digit: int
    index: int
    path: Path


@dataclass(frozen=True)
class Utterance:
    """Recordings of one speaker, and the silences (seconds) between them."""

    utt: str
    tokens: tuple[Token, ...]
    gaps: tuple[float, ...] = ()

    @property
    def transcript(self) -> str:
        return " ".join(DIGITS[token.digit] for token in self.tokens)


def isolated(tokens: list[Token]) -> list[Utterance]:
    """Each recording by itself."""
    return [Utterance(f"{t.speaker}-{t.digit}-{t.index:03d}", (t,)) for t in tokens]


def _gaps(count: int, rng: random.Random) -> tuple[float, ...]:
    return tuple(round(rng.uniform(*SILENCE), 3) for _ in range(count - 1))


def strings(name: str, tokens: list[Token], count: int, seed: int) -> list[Utterance]:
    """`count` strings: speakers in turn, 1–5 digits (uniform), digits uniform, no recording twice in one.

    String i is a function of the seed, the set's name and i.
    """
    by_speaker: dict[str, list[list[Token]]] = {}
    for speaker in SPEAKERS:
        digits = [[t for t in tokens if t.speaker == speaker and t.digit == d] for d in range(10)]
        by_speaker[speaker] = digits
    result = []
    for i in range(count):
        speaker = SPEAKERS[i % len(SPEAKERS)]
        rng = random.Random(f"{seed} {name} {i}")
        chosen: list[Token] = []
        for _ in range(rng.randint(1, MAX_DIGITS)):
            groups = [[t for t in group if t not in chosen] for group in by_speaker[speaker]]
            chosen.append(rng.choice(rng.choice([group for group in groups if group])))
        result.append(Utterance(f"{speaker}-{name}-{i:06d}", tuple(chosen), _gaps(len(chosen), rng)))
    return result


def ordered_strings(
    name: str, tokens: list[Token], count: int, seed: int, table: Grammar | None
) -> list[Utterance]:
    """`count` strings of 5–8 digits by a grammar (None: uniform), speakers in turn.

    A digit's recordings take turns in random order, so that none comes twice before all have come. String i
    is a function of the seed, the set's name, i, and the grammar.
    """
    groups: dict[tuple[str, int], list[Token]] = {}
    for token in tokens:
        groups.setdefault((token.speaker, token.digit), []).append(token)
    result = []
    for i in range(count):
        speaker = SPEAKERS[i % len(SPEAKERS)]
        rng = random.Random(f"{seed} {name} {i}")
        left: dict[int, list[Token]] = {}
        chosen = []
        for digit in draw(rng, table):
            if not left.get(digit):
                left[digit] = rng.sample(groups[speaker, digit], len(groups[speaker, digit]))
            chosen.append(left[digit].pop())
        result.append(Utterance(f"{speaker}-{name}-{i:06d}", tuple(chosen), _gaps(len(chosen), rng)))
    return result


def strings_once(name: str, tokens: list[Token], seed: int) -> list[Utterance]:
    """Strings that use every recording exactly once, so that utterances are independent."""
    result = []
    for speaker in SPEAKERS:
        rng = random.Random(f"{seed} {name} {speaker}")
        left = [token for token in tokens if token.speaker == speaker]
        rng.shuffle(left)
        index = 0
        while left:
            length = rng.randint(1, MAX_DIGITS)
            part, left = left[:length], left[length:]
            result.append(Utterance(f"{speaker}-{name}-{index:06d}", tuple(part), _gaps(len(part), rng)))
            index += 1
    return result
