"""A trained unit vocoder on disk: model.safetensors and vocoder.json."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, write_json
from espnet_sld.stamps import file_digest
from espnet_sld.units.unit_text import deduplicate
from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.network import UnitDurations, UnitToMel
from espnet_sld.vocoder.timing import Timing

WEIGHTS, RECORD = "model.safetensors", "vocoder.json"
ANY = "any"


class UnitVocoder:
    """Units → log-mel spectrum of `conf`, with the durations' model.

    Args:
        speakers: names of the voices, in the order of their embeddings.
        info: what made it (JSON values).
    """

    def __init__(
        self,
        num_units: int,
        timing: Timing,
        conf: MelConf,
        speakers: list[str],
        *,
        width: int = 128,
        info: dict[str, Any] | None = None,
    ):
        self.num_units, self.timing, self.conf = num_units, timing, conf
        self.speakers, self.width, self.info = list(speakers), width, dict(info or {})
        self.mel_of = UnitToMel(num_units, conf.bands, len(speakers), width)
        self.lengths = UnitDurations(num_units)

    def modules(self) -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"mel": self.mel_of, "durations": self.lengths})

    def voice(self, speaker: str) -> int:
        """A voice's index; `any` is none in particular. Raises InputError for an unknown name."""
        if speaker == ANY:
            return len(self.speakers)
        if speaker not in self.speakers:
            some = " ".join(self.speakers[:10]) + (" …" if len(self.speakers) > 10 else "")
            raise InputError(f"speaker '{speaker}': the vocoder knows {some}, and {ANY}")
        return self.speakers.index(speaker)

    @torch.inference_mode()
    def expand(self, units: np.ndarray) -> np.ndarray:
        """De-duplicated units (R,) → units frame by frame (U,), durations predicted; runs are joined."""
        joined, _ = deduplicate(units)
        if not len(joined):
            return joined
        return np.repeat(joined, self.lengths.eval().durations(torch.from_numpy(joined)).numpy())

    @torch.inference_mode()
    def mel(self, units: np.ndarray, speaker: str = ANY) -> np.ndarray:
        """Units frame by frame (U,), U ≥ 1 → log-mel (T, M) float32, T = num_frames(num_samples(U))."""
        frames = self.conf.num_frames(self.timing.num_samples(len(units), self.conf.sample_rate))
        index, place = self.timing.unit_of_frames(len(units), self.conf, frames)
        normalised = self.mel_of.eval()(
            torch.from_numpy(np.asarray(units, dtype=np.int64))[None],
            torch.from_numpy(index)[None],
            torch.from_numpy(place)[None],
            torch.tensor([self.voice(speaker)]),
        )[0]
        floor = np.log(self.conf.floor) / self.conf.nats
        mel = normalised * self.mel_of.scale + self.mel_of.mean
        return mel.clamp(min=float(floor)).numpy()

    def save(self, directory: str | os.PathLike) -> None:
        """Write the weights and, last, the record."""
        from safetensors.torch import save

        weights = Path(directory) / WEIGHTS
        state = {name: value.contiguous() for name, value in self.modules().state_dict().items()}
        with atomic_write(weights, "wb") as stream:
            stream.write(save(state))
        record = {
            **self.info,
            "num_units": self.num_units,
            "shift": self.timing.shift,
            "window": self.timing.window,
            "mel": self.conf.as_dict(),
            "speakers": self.speakers,
            "width": self.width,
            "weights": file_digest(weights),
        }
        write_json(Path(directory) / RECORD, record, sort_keys=True)

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "UnitVocoder":
        """Read what `save` wrote.

        Raises:
            InputError: files are missing, damaged, or do not belong together.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        record, weights = Path(directory) / RECORD, Path(directory) / WEIGHTS
        own = ("num_units", "shift", "window", "mel", "speakers", "width", "weights")
        try:
            values = json.loads(record.read_text(encoding="utf-8"))
            result = cls(
                values["num_units"],
                Timing(values["shift"], values["window"]),
                MelConf(**values["mel"]),
                values["speakers"],
                width=values["width"],
                info={name: value for name, value in values.items() if name not in own},
            )
            result.modules().load_state_dict(load(weights.read_bytes()))
        except FileNotFoundError as error:
            raise InputError(f"{error.filename}: no such file; train the vocoder first") from None
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{directory}: vocoder is damaged ({error}); train it again") from None
        if values["weights"] != file_digest(weights):
            raise InputError(f"{weights}: does not belong to {record}; train the vocoder again")
        return result
