"""How long an output may get: a bound learnt from the training set, so that loops end early."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from espnet_sld.errors import InputError


@dataclass(frozen=True)
class LengthBound:
    """Most generated tokens for a condition of given length: ⌈ratio·margin·length⌉ + constant, capped.

    Attributes:
        ratio: highest ratio of target to condition tokens in training (recognition: of text tokens to speech
            pieces). max_text: cap, in target tokens.
        margin, constant: slack, for faster speech than any in training and for very short utterances.
    """

    ratio: float
    max_text: int
    margin: float = 1.5
    constant: int = 5

    def __call__(self, speech_length: int) -> int:
        """Bound for a condition of `speech_length` tokens, the end token included (hence one more)."""
        scaled = self.ratio * self.margin * speech_length
        return min(math.ceil(scaled - 1e-9) + self.constant, self.max_text) + 1  # 6.000…1 is 6

    @classmethod
    def from_file(
        cls, path: str | Path, max_text: int, *, margin: float = 1.5, constant: int = 5
    ) -> "LengthBound":
        """Read `length_stats.json`.

        Raises:
            InputError: the file is missing, damaged or has neither `max_text_per_speech` (`collect_shapes`)
                nor `max_target_per_condition` (`collect_mixture`).
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            key = "max_target_per_condition"
            ratio = float(values[key if key in values else "max_text_per_speech"])
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; run the stage that collects lengths (6)") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not length statistics ({error!r}); run stage 6 again") from None
        return cls(ratio, max_text, margin, constant)


def statistics_of_task(directory: str | Path, name: str) -> Path:
    """Of a mixture's training sets that teach a task, the `length_stats.json` with the highest ratio.

    Args:
        directory: what `collect_mixture` wrote.
        name: the task, with its generate token where it has one (`task_name`).

    Raises:
        InputError: no such training set, or damaged statistics.
    """
    found: list[tuple[float, Path]] = []
    names: set[str] = set()
    for path in sorted(Path(directory).glob("train/*/length_stats.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            names.add(str(values["task_name"]))
            if values["task_name"] == name:
                found.append((float(values["max_target_per_condition"]), path))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a mixture's length statistics ({error!r}); collect them again"
            ) from None
    if not found:
        have = ", ".join(sorted(names)) or "none; run bin.collect_mixture first"
        raise InputError(f"{directory}/train: no data set of the task '{name}'; there are: {have}")
    return max(found, key=lambda pair: pair[0])[1]
