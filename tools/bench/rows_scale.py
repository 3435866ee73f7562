"""Row of growth: does a hundred times the data cost a hundred times the time, and no more memory?"""

from collections.abc import Callable

import numpy as np
from lengths import librispeech_like
from measure import Row, allowance_row, now, require
from memory import peak_bytes
from rows_scoring import transcripts
from rows_units import DIMENSION, structured_frames

from espnet_sld.scoring.error_rates import count_word_errors
from espnet_sld.tasks.batching import TokenBatchSampler
from espnet_sld.units.kmeans import KMeans

FRAMES, CLUSTERS = 100, 100


def growth(repeats: int, *, small: int = 1000, large: int = 100_000, allowed: float = 1.25) -> Row:
    """Time per token of units, batching and scoring at `large` utterances over that at `small`.

    The slowest part counts; the small size is run often enough to be measured. Memory of the unit stream is
    taken beside it: it must not grow with the corpus.
    """
    frames = structured_frames(FRAMES + CLUSTERS)
    kmeans, speech = KMeans(frames[:CLUSTERS]), frames[CLUSTERS:]
    speech_lengths, text = librispeech_like(large)
    lengths = speech_lengths + text + 2
    references, hypotheses = transcripts(small)

    def units(number: int) -> None:
        for _ in range(number):
            kmeans.assign(speech)

    def batching(number: int) -> None:
        batches = TokenBatchSampler(lengths[:number], 24_000).pass_batches(1, 0)
        require(sum(map(len, batches)) == number, "a pass is not every utterance once")

    def scoring(number: int) -> None:
        times = number // small
        count_word_errors(references * times, hypotheses * times)

    parts: dict[str, Callable[[int], None]] = {"units": units, "batching": batching, "scoring": scoring}
    ratios: list[dict[str, float]] = []
    for _ in range(repeats):
        ratios.append({})
        for name, part in parts.items():
            at_once = 10 if large >= 10 * small else 1
            start = now()
            for _ in range(at_once):
                part(small)
            middle = now()
            part(large)
            first, second = (middle - start) / at_once / small, (now() - middle) / large
            ratios[-1][name] = second / first
    memory = [peak_bytes(lambda n=n: units(n)) / 1e6 for n in (small, large)]
    worst = [max(row.values()) for row in ratios]
    shown = ", ".join(f"{n} {np.median([row[n] for row in ratios]):.2f}" for n in parts)
    return allowance_row(
        "growth",
        f"{small} utterances",
        worst,
        1.0,
        allowed,
        unit="× time per token",
        peak_bytes=int(memory[1] * 1e6),
        description=f"time per token at {large} utterances over that at {small}, the worst of: {shown} "
        f"(medians); frames of D = {DIMENSION}; memory of the unit stream {memory[0]:.1f} → {memory[1]:.1f} "
        f"MB beyond the start. Ratio: allowed {allowed} ÷ ours",
    )
