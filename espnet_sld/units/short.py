"""Utterances that are too short for one frame: found all at once, with what to do about them."""

import os
from collections.abc import Mapping

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.durations import tabled_seconds
from espnet_sld.errors import InputError
from espnet_sld.units.frontends.base import FrontEnd

TOLERANCE = 0.01  # seconds by which utt2dur may be wrong


def least_samples(front_end: FrontEnd) -> int:
    """Samples of the shortest audio that has a frame."""
    high = 1
    while front_end.num_frames(high) < 1:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if front_end.num_frames(middle) < 1 else (low, middle)
    return high


def nominally_short(data: DataDir, front_end: FrontEnd) -> list[str]:
    """Utterances that by utt2dur or segments may be too short for a frame; no file is opened."""
    limit = least_samples(front_end) / front_end.sample_rate + TOLERANCE
    seconds = ((utt, tabled_seconds(data, utt)) for utt in data.utterances)
    return [utt for utt, known in seconds if known is not None and known < limit]


def too_short(
    lengths: Mapping[str, int], front_end: FrontEnd, data: DataDir, data_dir: str | os.PathLike
) -> InputError:
    """The error that names all utterances of `lengths` (samples), the shortest that would do, the remedy."""
    rate = front_end.sample_rate
    least = least_samples(front_end) / rate
    count = f"{len(lengths)} utterance{' is' if len(lengths) == 1 else 's are'}"
    lines = [f"{data_dir}: {count} too short for one frame of {front_end.name} ({least:.10g} s):"]
    lines += [f"  utterance {utt}: {number / rate:.4f} s" for utt, number in lengths.items()]
    speeds = set((data.utt2speed or {}).values())
    if speeds <= {1.0}:
        lines.append(f"  remedy: utils/fix_data_dir --min_seconds {least:.10g} {data_dir}")
    else:
        lines.append(
            f"  remedy: utils/fix_data_dir --min_seconds {least * max(speeds):.10g} for the set at its own "
            "speed, then make the speed-perturbed one again (stage 2)"
        )
    return InputError("\n".join(lines))
