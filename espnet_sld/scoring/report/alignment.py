"""Word alignments as strings of steps: what a page needs to colour a hypothesis."""

from collections.abc import Sequence


def steps(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """One letter a step of a shortest alignment: `=` kept, `S` substituted, `I` inserted, `D` deleted.

    rapidfuzz's alignment, as in `scoring.error_rates`: the letters count what `per_utterance.tsv` has.
    """
    from rapidfuzz.distance import Levenshtein

    result, position = [], 0
    for edit, source, _ in Levenshtein.editops(list(reference), list(hypothesis)).as_list():
        result.append("=" * (source - position))
        position = source
        if edit == "insert":
            result.append("I")
        else:
            result.append("S" if edit == "replace" else "D")
            position += 1
    result.append("=" * (len(reference) - position))
    return "".join(result)
