"""Speed perturbation of data directories: no audio is written, the reader resamples (Ko et al. 2015)."""

import os
from dataclasses import replace
from pathlib import Path

from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.partition import combine
from espnet_sld.errors import InputError

FACTORS = (0.5, 2.0)


def parse_factors(text: str) -> list[float]:
    """`"0.9 1.0 1.1"` → [0.9, 1.0, 1.1].

    Raises:
        InputError: not numbers, doubled, or out of range.
    """
    try:
        factors = [float(item) for item in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"--factors '{text}': expected numbers such as '0.9 1.0 1.1'") from None
    low, high = FACTORS
    if not factors or len(set(factors)) < len(factors) or not all(low <= f <= high for f in factors):
        raise InputError(f"--factors '{text}': expected different numbers from {low} to {high}")
    return factors


def perturb(data: DataDir, factor: float) -> DataDir:
    """The set at another speed: every id becomes `sp<factor>-<id>`, the audio files stay.

    Perturbed speakers are speakers of their own, since the pitch changes. Times in segments stay those
    of the recording; `utt2speed` tells the reader what to do, `utt2dur` becomes the length as heard.

    Raises:
        InputError: the set is perturbed already.
    """
    if any(value != 1.0 for value in (data.utt2speed or {}).values()):
        raise InputError("utt2speed: the set is speed-perturbed already; start from the original one")
    prefix = f"sp{float(factor)}-"

    def rename(table: dict | None) -> dict | None:
        return None if table is None else {prefix + key: value for key, value in table.items()}

    segments = rename(data.segments)
    return DataDir(
        wav=rename(data.wav),
        utt2spk={prefix + utt: prefix + speaker for utt, speaker in data.utt2spk.items()},
        text=rename(data.text),
        segments=segments and {u: s._replace(recording=prefix + s.recording) for u, s in segments.items()},
        utt2speed={prefix + utt: float(factor) for utt in data.utt2spk},
        utt2dur=data.utt2dur and {prefix + utt: length / factor for utt, length in data.utt2dur.items()},
        spk2gender=rename(data.spk2gender),
    )


def speed_perturb(
    in_dir: str | os.PathLike,
    out_prefix: str | os.PathLike,
    factors: list[float],
    *,
    allow_pipes: bool = False,
) -> dict[str, DataDir]:
    """Write `<out_prefix>_sp<factor>` for every factor but 1.0, and `<out_prefix>_sp`.

    The latter is the union of all of them with the original, whose ids stay as they are.

    Returns:
        directory → set, the union last.
    """
    original = DataDir.read(in_dir, allow_pipes=allow_pipes)
    result = {f"{out_prefix}_sp{factor}": perturb(original, factor) for factor in factors if factor != 1.0}
    plain = replace(original, utt2speed=dict.fromkeys(original.utt2spk, 1.0))
    result[f"{out_prefix}_sp"] = combine([plain, *result.values()])
    for path, data in result.items():
        data.write(Path(path))
    return result
