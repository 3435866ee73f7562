"""Parts and unions of data directories: shards, subsets, combination."""

import random
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.durations import tabled_seconds
from espnet_sld.errors import InputError


def split(data: DataDir, shards: int) -> list[DataDir]:
    """Cut the sorted utterances into `shards` runs of about equal duration.

    Durations are those of utt2dur, else of segments, else all alike. The cut depends on the directory
    alone; shards one after the other are the directory again. With fewer utterances than shards some
    are empty.

    Raises:
        InputError: `shards` is not positive.
    """
    if shards < 1:
        raise InputError(f"{shards} shards: at least 1")
    utts = data.utterances
    ends = list(accumulate(_durations(data)))
    cuts = (
        [0, *(bisect_left(ends, ends[-1] * k / shards) for k in range(1, shards)), len(utts)] if utts else []
    )
    if len(utts) >= shards:
        # A very long utterance may leave a neighbour without any: give each shard one at least.
        for k in range(1, shards):
            cuts[k] = min(max(cuts[k], cuts[k - 1] + 1), len(utts) - (shards - k))
    elif utts:
        cuts = [min(k, len(utts)) for k in range(shards + 1)]
    else:
        cuts = [0] * (shards + 1)
    return [data.select(utts[first:last]) for first, last in pairwise(cuts)]


def _durations(data: DataDir) -> list[float]:
    if data.utt2dur:
        return [data.utt2dur[utt] for utt in data.utterances]
    if data.segments and all(span.end > span.start for span in data.segments.values()):
        return [(data.segments[u].end - data.segments[u].start) / data.speed(u) for u in data.utterances]
    return [1.0] * len(data)


def subset(
    data: DataDir,
    *,
    first: int | None = None,
    shortest: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    utterances: Sequence[str] | None = None,
    speakers: Sequence[str] | None = None,
) -> DataDir:
    """Some utterances of a set, by exactly one criterion.

    Args:
        first: this many in C order.
        shortest: this many of the least duration (needs utt2dur, or segments that all say their end).
        sample: this many at random by `seed`.
        utterances, speakers: those named.

    Raises:
        InputError: more is asked for than there is, or an id is unknown.
    """
    chosen = [value for value in (first, shortest, sample, utterances, speakers) if value is not None]
    if len(chosen) != 1:
        raise InputError("subset: give exactly one of first, shortest, sample, utterances, speakers")
    ids = data.utterances
    for count in (first, shortest, sample):
        if count is not None and not 0 < count <= len(ids):
            raise InputError(f"subset of {count} utterances: the set has {len(ids)}; ask for 1 to {len(ids)}")
    if first is not None:
        return data.select(ids[:first])
    if shortest is not None:
        if any(tabled_seconds(data, utt) is None for utt in ids):
            raise InputError(
                "subset by duration: neither utt2dur nor segments give each utterance a length; write utt2dur"
            )
        order = sorted(zip(_durations(data), ids, strict=True))
        return data.select(utt for _, utt in order[:shortest])
    if sample is not None:
        return data.select(random.Random(seed).sample(ids, sample))
    known = set(data.utt2spk if utterances is not None else data.utt2spk.values())
    named = utterances if utterances is not None else speakers
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        raise InputError(f"subset: {len(unknown)} of {len(named)} ids are not in the set: {unknown[:5]}")
    if utterances is not None:
        return data.select(utterances)
    wanted = set(speakers)
    return data.select(utt for utt in ids if data.utt2spk[utt] in wanted)


def combine(parts: Sequence[DataDir]) -> DataDir:
    """The union of sets whose utterances differ.

    Segments, speeds and transcripts are kept if any part has them; a part without segments or speeds
    gets those of whole recordings at their own speed; utt2dur and spk2gender are kept if every part has them.

    Raises:
        InputError: an utterance occurs twice, a recording id means two files, a speaker has two genders,
            or only some parts have text.
    """
    if not parts:
        raise InputError("combine: no data directory given")
    with_text = [bool(part.text) for part in parts]
    if any(with_text) and not all(with_text):
        raise InputError(
            "combine: some of the sets have no text; combine only sets that all have it, or none"
        )
    any_segments = any(part.segments is not None for part in parts)
    any_speed = any(part.utt2speed is not None for part in parts)
    all_durations = all(part.utt2dur is not None for part in parts)
    all_genders = all(part.spk2gender is not None for part in parts)
    kept = (any_segments, any_speed, all_durations, all_genders)
    union = DataDir({}, {}, {}, *({} if wanted else None for wanted in kept))
    for part in parts:
        twice = sorted(set(union.utt2spk) & set(part.utt2spk))
        if twice:
            raise InputError(
                f"combine: {len(twice)} utterances occur in two sets: {', '.join(twice[:5])}; "
                "prefix the ids of one of them"
            )
        clash = sorted(r for r in set(union.wav) & set(part.wav) if union.wav[r] != part.wav[r])
        if clash:
            raise InputError(f"combine: recording {clash[0]} is two files: rename it in one of the sets")
        union.wav |= part.wav
        union.utt2spk |= part.utt2spk
        union.text |= part.text
        if any_segments:
            union.segments |= {utt: part.span(utt) for utt in part.utt2spk}
        if any_speed:
            union.utt2speed |= {utt: part.speed(utt) for utt in part.utt2spk}
        if all_durations:
            union.utt2dur |= part.utt2dur
        if all_genders:
            for speaker, value in part.spk2gender.items():
                if union.spk2gender.setdefault(speaker, value) != value:
                    raise InputError(f"combine: speaker {speaker} is m and f; correct one spk2gender")
    return union
