"""A mixture of five data sets over the synthetic token files, and the options that open it."""

from collections.abc import Callable
from pathlib import Path

import yaml

from espnet_sld.tasks.mixture import open_mixture
from espnet_sld.tasks.preprocess import SequencePreprocessor

IMAGES = [f"img{number:02d} {number % 4} 3 {number % 3} 0\n" for number in range(31)]


class Mixtures:
    """A test's mixtures.

    Attributes:
        files: token files of speech, text, image and caption.
        entries: the data sets of the mixture that `options` names at first.
        options: of `open_mixture` and `SequencePreprocessor`; a test changes them.
    """

    def __init__(self, token_dir: Path, folder: Path, sequence_options: Callable):
        self.folder = folder
        (folder / "image").write_text("".join(IMAGES))
        (folder / "caption").write_text("".join(f"{line.split()[0]} w{line.split()[1]}\n" for line in IMAGES))
        self.files = {kind: str(token_dir / f"train.{kind}") for kind in ("speech", "text")}
        self.pair = dict(self.files)
        self.files |= {kind: str(folder / kind) for kind in ("image", "caption")}
        text, image, caption = (self.files[kind] for kind in ("text", "image", "caption"))
        self.entries = [
            {"name": "asr", "task": "asr", **self.pair, "weight": 2, "portion": 0.25},
            {"name": "tts", "task": "tts", **self.pair, "portion": [0.25, 0.5]},
            {"name": "mt", "task": "mt", "language": "xx", "text": text, "target_text": text},
            {"name": "caption", "task": "caption", "image": image, "text": caption, "weight": 0.3},
            {"name": "raw", "unlabelled": True, "portion": [0.5, 1.0], **self.pair},
        ]
        self.options = sequence_options(
            mixture=self.write("mixture.yaml", self.entries), mixture_stats=None, num_image_tokens=4,
            max_speech=None, max_image=None, speech_bpe_dropout=0.0, speech_sampling_alpha=None, seed=0,
        )  # fmt: skip

    def write(self, name: str, train: list[dict], valid: list[dict] | None = None) -> str:
        """The path of a mixture's file; `valid`: as `train`."""
        path = self.folder / name
        path.write_text(yaml.safe_dump({"train": train, "valid": valid or train}), encoding="utf-8")
        return str(path)

    def opened(self, role: str = "train"):
        """The data of `options`."""
        return open_mixture(self.options, role, SequencePreprocessor.from_args(self.options))
