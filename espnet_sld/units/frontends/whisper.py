"""Features of Whisper's encoder: the output of one of its blocks."""

import logging
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.units.frontends.arithmetic import Arithmetic
from espnet_sld.units.frontends.base import file_name
from espnet_sld.units.frontends.checkpoints import Directory, read_directory
from espnet_sld.units.frontends.convert import load_strictly, update
from espnet_sld.units.frontends.hub import locate

HOP = 320  # samples of an encoder frame: mel frames of 160, halved by the second convolution
PIECES_AT_ONCE = 16
PREFIXES = ("model.encoder.", "encoder.")


class WhisperFrontEnd:
    """Whisper's encoder up to block `layer`, from a Hugging Face directory.

    Every utterance is padded with silence to 30 s, as Whisper was trained, whatever its length; of the 1500
    frames those within the audio are kept, n // 320: frame t stands for samples 320t … 320t + 319, and a last
    part under 20 ms gives none. Longer audio is cut into pieces of 30 s, each encoded alone; the frames add
    up to n // 320.

    Args:
        model: `whisper_<size>`, or the path of a Hugging Face directory.
        layer: k, 1 … L: output of block k, before the final norm.
        device: torch device.
        backend: any of the front-ends' (Whisper always runs by transformers' code).
        source: local directory of the named model; empty: downloaded once.
        revision: of the hub's repository, when downloading; empty: main.
        precision: fp32 | tf32 (GPU) | bf16 | fp16, as `Arithmetic`.
        final_norm: with layer L, the output after the final norm.

    Attributes:
        provenance: where the checkpoint came from, with the hub's revision; no part of `describe()`.

    Raises:
        InputError: no such checkpoint, layer or option; or weights that do not fit.
    """

    sample_rate = 16000
    frame_shift = HOP / 16000

    def __init__(
        self,
        model: str,
        layer: int,
        *,
        device: str = "cpu",
        backend: str = "transformers",
        source: str = "",
        revision: str = "",
        precision: str = "fp32",
        final_norm: bool = False,
    ):
        if backend not in {"s3prl", "transformers"}:
            raise InputError(f"front-end {model}: backend '{backend}' must be transformers")
        self.arithmetic = Arithmetic(device, precision)
        located = locate(model, source, revision)
        where = str(located.path)
        if not located.path.is_dir():
            raise InputError(f"{where}: Whisper is read from a Hugging Face directory, not from a file")
        directory = read_directory(located.path)
        self.encoder, self.mel, self._digest = _build(directory, layer, final_norm, where)
        self.encoder = self.encoder.eval().requires_grad_(False).to(self.arithmetic.device)
        self.name = file_name(model, layer)
        self.layer, self.final_norm = layer, final_norm
        self.dimension = self.encoder.config.d_model
        self.provenance = {**located.provenance, "format": "transformers"}
        logging.info("%s: %s", self.name, self.provenance)

    def num_frames(self, num_samples: int) -> int:
        return num_samples // HOP

    def extract(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        pieces: list[np.ndarray] = []
        owners: list[int] = []
        for index, wave in enumerate(waves):
            if self.num_frames(len(wave)) < 1:
                raise InputError(f"{len(wave)} samples are too short for one frame of {self.name}")
            wave = np.ascontiguousarray(wave, dtype=np.float32)
            cut = [
                wave[start : start + self.mel.n_samples] for start in range(0, len(wave), self.mel.n_samples)
            ]
            cut = [piece for piece in cut if self.num_frames(len(piece))]
            pieces += cut
            owners += [index] * len(cut)
        parts: list[list[np.ndarray]] = [[] for _ in waves]
        for start in range(0, len(pieces), PIECES_AT_ONCE):
            some = slice(start, start + PIECES_AT_ONCE)
            for owner, features in zip(owners[some], self._encode(pieces[some]), strict=True):
                parts[owner].append(features)
        return [np.concatenate(part) for part in parts]

    def describe(self) -> dict[str, Any]:
        return {
            "model": "whisper",
            "weights": self._digest,
            "layer": self.layer,
            "final_norm": self.final_norm,
            "precision": self.arithmetic.precision,
            "sample_rate": self.sample_rate,
        }

    def _encode(self, pieces: list[np.ndarray]) -> list[np.ndarray]:
        """Pieces of at most 30 s → (num_frames(n), D) of each."""
        device = self.arithmetic.device
        mel = self.mel(pieces, sampling_rate=self.sample_rate, return_tensors="pt", device=str(device))
        with self.arithmetic():
            hidden = self.encoder(mel["input_features"].to(device)).last_hidden_state.float().cpu().numpy()
        return [hidden[row, : self.num_frames(len(piece))].copy() for row, piece in enumerate(pieces)]


def _build(directory: Directory, layer: int, final_norm: bool, where: str) -> tuple[Any, Any, str]:
    """The encoder cut to `layer` blocks, the log-mel extractor, and the digest of both."""
    import hashlib

    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    if directory.config.get("model_type") != "whisper":
        raise InputError(f"{where}: model_type {directory.config.get('model_type')}, expected whisper")
    blocks = directory.config.get("encoder_layers", 0)
    if not 1 <= layer <= blocks:
        raise InputError(f"{where}: layer {layer} must be 1 … {blocks}, the encoder's blocks")
    if final_norm and layer != blocks:
        raise InputError(f"{where}: final_norm=true is of the last layer, {blocks}, not of {layer}")
    config = WhisperConfig.from_dict({**directory.config, "encoder_layers": layer, "encoder_layerdrop": 0.0})
    with torch.device("meta"):  # the weights replace what would be drawn here
        encoder = WhisperEncoder(config)
    if not final_norm:
        encoder.layer_norm = torch.nn.Identity()
    weights = _encoder_weights(directory.weights, set(encoder.state_dict()), blocks)
    load_strictly(encoder, weights, where)
    mel = WhisperFeatureExtractor.from_dict(directory.preprocessor or {"feature_size": config.num_mel_bins})
    if mel.nb_max_frames != 2 * config.max_source_positions or mel.feature_size != config.num_mel_bins:
        raise InputError(
            f"{where}: preprocessor_config.json makes {mel.nb_max_frames} frames of {mel.feature_size} bands,"
            f" the encoder takes {2 * config.max_source_positions} of {config.num_mel_bins}"
        )
    if mel.sampling_rate != 16000 or mel.hop_length * 2 != HOP or mel.dither:
        raise InputError(f"{where}: preprocessor_config.json must have 16000 Hz, a hop of 160, and no dither")
    shape = (config.encoder_attention_heads, config.activation_function, config.scale_embedding, mel.n_fft)
    result = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    update(result, weights)
    return encoder, mel, result.hexdigest()


def _encoder_weights(
    weights: dict[str, torch.Tensor], wanted: set[str], blocks: int
) -> dict[str, torch.Tensor]:
    """Float32 weights of the encoder without its prefix; of those not wanted, only what the cut explains."""
    prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in weights)), "")
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    above = tuple(f"layers.{index}." for index in range(blocks))
    return {
        name: value.to(torch.float32).contiguous()
        for name, value in own.items()
        if name in wanted or not name.startswith((*above, "layer_norm."))
    }
