"""Mean and standard deviation of a training set's filterbanks, for global normalisation."""

import hashlib
import logging
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from espnet_sld.files import atomic_write
from espnet_sld.progress import track
from espnet_sld.stamps import Stamp
from espnet_sld.tasks.ctc_speech import WaveSpeech
from espnet_sld.tasks.encoder_inputs import FbankInput

logger = logging.getLogger(__name__)
MOST_UTTERANCES = 5000


@torch.no_grad()
def feature_statistics(speech: WaveSpeech, source: FbankInput, path: Path) -> tuple[Tensor, Tensor]:
    """Mean and deviation (F,) over at most 5000 utterances, chosen by a hash of their names; kept in `path`.

    Every process that trains computes the same, or reads it where it stands already.
    """
    chosen = sorted(speech.utterances, key=lambda name: hashlib.blake2b(name.encode()).digest())
    chosen = chosen[:MOST_UTTERANCES]
    stamp = Stamp(
        path.with_suffix(".json"),
        inputs=[speech.path],
        options={"utterances": chosen, "rate": speech.rate, "frontend": str(source.frontend)},
        outputs=[path],
    )
    if not stamp.fresh():
        total = torch.zeros(3, source.width, dtype=torch.float64)
        for name in track(chosen, len(chosen), "feature statistics"):
            samples = torch.from_numpy(speech.load(name))[None]
            frames, _ = source.features(samples, torch.tensor([samples.size(1)]))
            values = frames[0].double()
            total += torch.stack(
                [torch.full_like(values[0], len(values)), values.sum(0), values.square().sum(0)]
            )
        mean = total[1] / total[0]
        std = (total[2] / total[0] - mean.square()).clamp(min=0).sqrt()
        with atomic_write(path, "wb") as stream:
            stream.write(save({"mean": mean.float(), "std": std.float()}))
        stamp.write(utterances=len(chosen))
    found = load_file(path)
    return found["mean"], found["std"]
