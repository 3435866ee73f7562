"""Utterance lengths shaped like LibriSpeech's, drawn rather than read, so that no corpus is needed."""

import numpy as np

PIECES_PER_SECOND = 27.0  # of 2000 clusters at 50 frames a second, 6000 unigram pieces
TEXT_PER_SECOND = 3.4  # subwords
MAX_POSITIONS = 1024


def librispeech_like(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Speech pieces and text tokens of `number` utterances, two int64 arrays.

    Durations follow the training set's shape: most near 14 s, a tail of short ones, 12.6 s on average.
    """
    rng = np.random.default_rng(seed)
    long = rng.normal(14.3, 1.4, number)
    short = rng.uniform(1.5, 12.0, number)
    seconds = np.where(rng.random(number) < 0.78, long, short).clip(1.5, 24.5)
    speech = seconds * PIECES_PER_SECOND * rng.normal(1.0, 0.08, number)
    text = seconds * TEXT_PER_SECOND * rng.normal(1.0, 0.15, number)
    text = text.astype(np.int64).clip(1, 150)
    return speech.astype(np.int64).clip(1, MAX_POSITIONS - 2 - text), text


def sequences(
    number: int, text_vocabulary: int, speech_vocabulary: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Joint ids and kinds (2 = speech, 1 = text, as targets) of random utterances.

    Each is `pieces · <speech_end> · text · <text_end>`; ids as `SpeechTextCriterion` has them.
    """
    rng = np.random.default_rng(seed)
    result = []
    for speech, text in zip(*librispeech_like(number, seed), strict=True):
        pieces = rng.integers(text_vocabulary + 2, text_vocabulary + 2 + speech_vocabulary, speech)
        words = rng.integers(0, text_vocabulary, text)
        ids = np.concatenate([pieces, [text_vocabulary + 1], words, [text_vocabulary]])
        kinds = np.repeat(np.array([2, 1], dtype=np.uint8), [speech + 1, text + 1])
        result.append((ids, kinds))
    return result
