"""Translations of one decoded set: BLEU by sacrebleu, with its signature, beside the error rates."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.scoring.result import Result, score_set
from espnet_sld.scoring.trn import read_pair


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, Any]:
    """Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it.

    Args:
        hypotheses: N translations.
        references: R lists of N references each.
        tokenize: sacrebleu's tokeniser: 13a, intl, char, zh, ja-mecab, none, …

    Returns:
        `bleu` (0–100), `bleu_signature`, and what it was computed from: `bleu_matches` and `bleu_totals`
        (n-grams, n = 1 … 4), `bleu_brevity_penalty`, `hyp_tokens`, `ref_tokens`. Where no hypothesis has an
        n-gram of some order (a set of one-word sentences has no 4-grams), that order's total is 0 and so is
        sacrebleu's score: read the totals, and the error rate.

    Raises:
        InputError: sacrebleu is missing, or it has no such tokeniser.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise InputError("BLEU needs sacrebleu; install it: pip install 'espnet_sld[translation]'") from None
    try:
        metric = BLEU(tokenize=tokenize, lowercase=lowercase)
    except (ValueError, KeyError, AssertionError, ImportError, RuntimeError) as error:
        raise InputError(f"--tokenize {tokenize}: sacrebleu cannot use it ({error})") from None
    score = metric.corpus_score(list(hypotheses), [list(stream) for stream in references])
    return {
        "bleu": round(score.score, 4),
        "bleu_signature": str(metric.get_signature()),
        "bleu_matches": list(score.counts),
        "bleu_totals": list(score.totals),
        "bleu_brevity_penalty": round(score.bp, 6),
        "hyp_tokens": score.sys_len,
        "ref_tokens": score.ref_len,
    }


def score_translations(
    hyp_text: str | os.PathLike,
    ref_texts: Sequence[str | os.PathLike],
    out_dir: str | os.PathLike,
    meta: Mapping[str, Any] | None = None,
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Result:
    """Score one set; as `score_set` against the first reference file, and `bleu`'s values against all.

    Args:
        ref_texts: Kaldi `text` (or .trn) files with the same utterances.

    Raises:
        InputError: utterances differ between the files.
    """
    pairs = [read_pair(hyp_text, reference) for reference in ref_texts]
    measured = bleu(
        pairs[0][2], [reference for _, reference, _ in pairs], tokenize=tokenize, lowercase=lowercase
    )
    return score_set(hyp_text, ref_texts[0], out_dir, {**(meta or {}), **measured})
