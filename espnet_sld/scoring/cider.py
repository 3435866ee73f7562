"""CIDEr and CIDEr-D (Vedantam, Zitnick, Parikh 2015, arXiv 1411.5726), restated from the paper.

With h_k(s) the count of n-gram k in sentence s, I the images and refs(p) the references of image p, the
weight of n-gram k in a sentence is (eq. 1) g_k(s) = h_k(s) · log(|I| / max(1, |{p : k occurs in
refs(p)}|)). Counts are not divided by the sentence's total: the cosine of eq. 2 does not see a scale, and
CIDEr-D's clipping is done on counts in the authors' code.

- `cider` (eq. 2–3): the mean over references and over n = 1 … 4 of the cosine of the two g vectors.
- `cider_d` (§ 5, eq. 4), what the COCO server and papers report as "CIDEr": in the numerator the candidate's
  weights are clipped to the reference's, each term is multiplied by exp(−(l_c − l_r)² / 2σ²), σ = 6, and the
  result by 10. l is a sentence's number of bigrams, as in the authors' code: the differences are those of the
  word counts, unless a sentence is empty.

The paper's first form maps words to their stems before counting, CIDEr-D does not; here words are compared as
they are given, in both. Document frequencies are those of the references that are scored ("corpus" mode): a
set of one image has zero idf and scores 0.
"""

import math
from collections import Counter
from collections.abc import Sequence

from espnet_sld.errors import InputError

MAX_N = 4
SIGMA = 6.0
VARIANTS = ("cider_d", "cider")
Gram = tuple[str, ...]


def ngrams(sentence: str) -> list[Counter[Gram]]:
    """Counts of a sentence's n-grams of words, for n = 1 … 4."""
    words = sentence.split()
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, MAX_N + 1)]


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]], *, variant: str = "cider_d"
) -> list[float]:
    """Score of each image; the corpus's score is their mean.

    Args:
        candidates: N captions, words separated by spaces.
        references: N lists of at least one caption.
        variant: cider_d (0 … 10) | cider (0 … 1); papers print 100 times the mean of cider_d.

    Raises:
        InputError: another number of references, an image without any, or an unknown variant.
    """
    if variant not in VARIANTS:
        raise InputError(f"CIDEr variant '{variant}': must be one of {' '.join(VARIANTS)}")
    if len(candidates) != len(references):
        raise InputError(f"CIDEr: {len(candidates)} captions, but references of {len(references)} images")
    if empty := [i for i, refs in enumerate(references) if not refs]:
        raise InputError(f"CIDEr: image {empty[0]} has no reference caption; every image needs one")
    counts = [[ngrams(reference) for reference in refs] for refs in references]
    frequency: Counter[Gram] = Counter()
    for refs in counts:
        frequency.update({gram for reference in refs for order in reference for gram in order})
    total = math.log(max(1, len(references)))

    def vectors(orders: list[Counter[Gram]]) -> list[dict[Gram, float]]:
        return [
            {gram: count * (total - math.log(max(1, frequency[gram]))) for gram, count in order.items()}
            for order in orders
        ]

    similarity = _defended if variant == "cider_d" else _cosine
    scores = []
    for candidate, refs in zip(candidates, counts, strict=True):
        grams = ngrams(candidate)
        vector, length = vectors(grams), grams[1].total()
        terms = [
            similarity(one, other, length - reference[1].total())
            for reference in refs
            for one, other in zip(vector, vectors(reference), strict=True)
        ]
        scores.append(math.fsum(terms) / (MAX_N * len(refs)))
    return scores


def _norm(vector: dict[Gram, float]) -> float:
    return math.sqrt(math.fsum(value * value for value in vector.values()))


def _cosine(candidate: dict[Gram, float], reference: dict[Gram, float], difference: int) -> float:
    """Eq. 2; 0 where a vector is zero."""
    norms = _norm(candidate) * _norm(reference)
    if norms == 0:
        return 0.0
    return math.fsum(value * reference.get(gram, 0.0) for gram, value in candidate.items()) / norms


def _defended(candidate: dict[Gram, float], reference: dict[Gram, float], difference: int) -> float:
    """Eq. 4: clipped, with the length penalty, times 10."""
    norms = _norm(candidate) * _norm(reference)
    if norms == 0:
        return 0.0
    clipped = math.fsum(
        min(value, reference.get(gram, 0.0)) * reference.get(gram, 0.0) for gram, value in candidate.items()
    )
    return 10.0 * math.exp(-(difference**2) / (2 * SIGMA**2)) * clipped / norms
