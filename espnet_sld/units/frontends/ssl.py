"""Features of self-supervised models (HuBERT, WavLM): the output of one Transformer block."""

import logging
import warnings
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.arithmetic import Arithmetic
from espnet_sld.units.frontends.base import file_name
from espnet_sld.units.frontends.checkpoints import read_checkpoint
from espnet_sld.units.frontends.convert import digest, select
from espnet_sld.units.frontends.hub import locate

BACKENDS = ("s3prl", "transformers")


class SslFrontEnd:
    """HuBERT or WavLM up to block `layer`, by s3prl's or by transformers' code, with the same units.

    Layer k is the output of the k-th block, counted from 1, before any final norm: fairseq's
    `output_layer=k`, `hidden_states[k]` of s3prl and transformers (for k < L). The blocks above are not
    built. Where the checkpoint says so ("large" models), each utterance is normalised before padding, with
    fairseq's arithmetic: `layer_norm` of the waveform (transformers' own feature extractor adds 1e-7 to the
    variance, not 1e-5).

    Args:
        model: a name of `base.SSL_MODELS`, or the path of a checkpoint.
        layer: k, 1 … L.
        device: torch device.
        backend: s3prl | transformers.
        source: local checkpoint of the named model, file or directory; empty: downloaded once.
        revision: of the hub's repository, when downloading; empty: main.
        precision: fp32 | tf32 (GPU) | bf16 | fp16, as `Arithmetic`.
        normalise: for checkpoints that do not say whether utterances are normalised.

    Attributes:
        provenance: where the checkpoint came from, with the hub's revision; no part of `describe()`.

    Raises:
        InputError: no such checkpoint, backend or layer; or weights that do not fit.
    """

    def __init__(
        self,
        model: str,
        layer: int,
        *,
        device: str = "cpu",
        backend: str = "s3prl",
        source: str = "",
        revision: str = "",
        precision: str = "fp32",
        normalise: bool | None = None,
    ):
        if backend not in BACKENDS:
            raise InputError(f"front-end {model}: backend '{backend}' must be one of {' '.join(BACKENDS)}")
        self.arithmetic = Arithmetic(device, precision)
        located = locate(model, source, revision)
        where = str(located.path)
        checkpoint = read_checkpoint(located.path)
        self.config = config = checkpoint.config
        expected = model.partition("_")[0]
        if source and config.model_type != expected:
            raise InputError(f"{where}: holds a {config.model_type} model, but the front-end is {model}")
        if not 1 <= layer <= config.num_layers:
            raise InputError(f"{where}: layer {layer} must be 1 … {config.num_layers}, its blocks")
        self.normalise = _normalise(config.normalise, normalise, where)
        weights = select(config, checkpoint.weights, layer, where)
        self.encoder = _encoder(backend)(config, layer, weights, where, self.arithmetic.device)
        self.name = file_name(model, layer)
        self.layer, self.backend = layer, backend
        self.sample_rate, self.dimension = config.sample_rate, config.dimension
        self.frame_shift = config.hop / config.sample_rate
        self.provenance = {**located.provenance, "format": checkpoint.format}
        self._digest = digest(config, weights)
        logging.info("%s: %s", self.name, self.provenance)

    def num_frames(self, num_samples: int) -> int:
        return self.config.num_frames(num_samples)

    def extract(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        if not waves:
            return []
        lengths = [len(wave) for wave in waves]
        frames = [self.num_frames(length) for length in lengths]
        if min(frames) < 1:
            raise InputError(f"{min(lengths)} samples are too short for one frame of {self.name}")
        samples = torch.zeros(len(waves), max(lengths))
        for row, wave in zip(samples, waves, strict=True):
            row[: len(wave)] = self._prepare(wave)
        with self.arithmetic(), warnings.catch_warnings():
            # WavLM, in both libraries, has its positions as floats beside a boolean mask
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            features = self.encoder(samples.to(self.arithmetic.device), lengths).float().cpu().numpy()
        return [features[index, :count].copy() for index, count in enumerate(frames)]

    def describe(self) -> dict[str, Any]:
        return {
            "model": self.config.model_type,
            "weights": self._digest,
            "layer": self.layer,
            "backend": self.backend,
            "precision": self.arithmetic.precision,
            "normalise": self.normalise,
            "sample_rate": self.sample_rate,
        }

    def _prepare(self, wave: np.ndarray) -> torch.Tensor:
        """One waveform as the model wants it, before any padding."""
        samples = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
        return torch.nn.functional.layer_norm(samples, samples.shape) if self.normalise else samples


def _encoder(backend: str) -> type:
    if backend == "s3prl":
        from espnet_sld.units.frontends.s3prl_backend import S3prlEncoder

        return S3prlEncoder
    from espnet_sld.units.frontends.transformers_backend import TransformersEncoder

    return TransformersEncoder


def _normalise(said: bool | None, wanted: bool | None, where: str) -> bool:
    """What the checkpoint says; an option only where it says nothing."""
    if wanted is not None and not isinstance(wanted, bool):
        raise InputError(f"{where}: normalise={wanted} must be true or false")
    if said is None and wanted is None:
        raise InputError(
            f"{where}: does not say whether utterances are normalised; give normalise=true or false"
        )
    if said is not None and wanted is not None and said != wanted:
        raise InputError(f"{where}: says normalise={str(said).lower()} itself; leave the option out")
    return wanted if said is None else said
