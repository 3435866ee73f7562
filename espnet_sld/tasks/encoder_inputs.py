"""What an encoder is fed: embedded units, or log-mel filterbanks of raw audio; exact under padding."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from espnet_sld.errors import InputError

# Of ESPnet's DefaultFrontend, but its beamformer, its own padding at the ends and its input of features.
FBANK_OPTIONS = (
    "fs",
    "n_fft",
    "win_length",
    "hop_length",
    "window",
    "normalized",
    "n_mels",
    "fmin",
    "fmax",
    "htk",
)


class UnitInput(nn.Module):
    """Unit tokens → embeddings, halved in number by convolutions if asked for.

    Args:
        num_units: unit tokens; `num_units` itself is the pad.
        width: D of the embeddings.
        subsampling: 1, 2 or 4. De-duplicated units and SentencePiece pieces are few: leave them at 1, so that
            CTC has a frame for every target.
    """

    def __init__(self, num_units: int, width: int, subsampling: int = 1):
        super().__init__()
        if subsampling not in (1, 2, 4):
            raise InputError(f"--unit_subsampling {subsampling}: must be 1, 2 or 4")
        self.pad_id, self.subsampling, self.width = num_units, subsampling, width
        self.embedding = nn.Embedding(num_units + 1, width, padding_idx=num_units)
        halvings = subsampling.bit_length() - 1
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, 2, 1) for _ in range(halvings))

    def features(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, T, D) of unit tokens x (B, T), 0 at pads, and their lengths."""
        return self.embedding(x), lengths

    def subsample(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T', D) and lengths: ⌈n/2⌉ for each convolution, which see zeros beyond the end."""
        for convolution in self.convolutions:
            x = convolution(hidden_padding(x, lengths).transpose(1, 2)).relu().transpose(1, 2)
            lengths = self.halved(lengths)
        return x, lengths

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames that come out for so many tokens."""
        for _ in self.convolutions:
            lengths = self.halved(lengths)
        return lengths

    @staticmethod
    def halved(lengths: Tensor) -> Tensor:
        """Frames after a convolution of stride 2 and padding 1."""
        return (lengths + 1) // 2


class FbankInput(nn.Module):
    """Samples → log-mel filterbanks by ESPnet's `DefaultFrontend`.

    ESPnet mirrors the ends of the padded batch, so an utterance's last frames depend on its company. Here
    each utterance's own ends are mirrored first; alone, it gives ESPnet's features exactly.

    Args:
        conf: ESPnet's `frontend_conf`.
    """

    subsampling = 1

    def __init__(self, conf: Mapping[str, Any]):
        super().__init__()
        from espnet2.asr.frontend.default import DefaultFrontend

        if unknown := sorted(set(conf) - set(FBANK_OPTIONS)):
            raise InputError(
                f"frontend_conf: unknown option {', '.join(unknown)}; known: {', '.join(FBANK_OPTIONS)}"
            )
        try:
            self.frontend = DefaultFrontend(**conf, center=False, frontend_conf=None)
        except Exception as error:  # ESPnet's checks raise types of their own
            raise InputError(f"frontend_conf: {str(error).splitlines()[0]}") from error
        self.rate = int(conf.get("fs", 16000))
        self.edge, self.hop = self.frontend.stft.n_fft // 2, self.frontend.hop_length
        self.width = self.frontend.output_size()

    def features(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Filterbanks (B, T, F) of samples x (B, S), and frames: samples // hop + 1."""
        places = torch.arange(-self.edge, x.size(1) + self.edge, device=x.device)[None]  # (1, S + 2·edge)
        last = lengths[:, None] - 1
        places = torch.where(places > last, 2 * last - places, places.abs())  # mirrored at both ends
        inside = (places >= 0) & (places <= last)
        mirrored = x.gather(1, torch.where(inside, places, 0)) * inside
        with torch.autocast(x.device.type, enabled=False):
            return self.frontend(mirrored.to(self.frontend.logmel.melmat), lengths + 2 * self.edge)

    def subsample(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As they are: ESPnet's encoders subsample filterbanks themselves."""
        return x, lengths

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames for so many samples."""
        return lengths // self.hop + 1


class GlobalNormalisation(nn.Module):
    """(x − mean) / standard deviation of the training set, which are saved with the parameters.

    Args:
        width: F.
    """

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take statistics (F,)."""
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=1e-5))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, F) normalised, 0 at padding."""
        return hidden_padding((x - self.mean) / self.std, lengths), lengths


def build_normalisation(name: str, conf: Mapping[str, Any], width: int) -> nn.Module | None:
    """`utterance_mvn` (ESPnet's), `global_mvn` (`GlobalNormalisation`) or `none`."""
    if name == "none":
        return None
    if name == "global_mvn":
        return GlobalNormalisation(width)
    if name != "utterance_mvn":
        raise InputError(f"--normalize {name}: must be utterance_mvn, global_mvn or none")
    from espnet2.layers.utterance_mvn import UtteranceMVN

    try:
        return UtteranceMVN(**conf)
    except Exception as error:  # ESPnet's checks raise types of their own
        raise InputError(f"normalize_conf: {str(error).splitlines()[0]}") from error


def build_specaug(name: str, conf: Mapping[str, Any]) -> nn.Module | None:
    """ESPnet's SpecAugment by `specaug`, or `none`."""
    if name == "none":
        return None
    if name != "specaug":
        raise InputError(f"--specaug {name}: must be specaug or none")
    from espnet2.asr.specaug.specaug import SpecAug

    try:
        return SpecAug(**conf)
    except Exception as error:
        raise InputError(f"specaug_conf: {str(error).splitlines()[0]}") from error


def hidden_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """x (B, T, D) with zeros from each row's length on."""
    beyond = torch.arange(x.size(1), device=x.device) >= lengths.to(x.device)[:, None]
    return x.masked_fill(beyond[..., None], 0.0)
