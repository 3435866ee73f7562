"""HiFi-GAN generators from the directories that others made.

Two formats, told apart by their files: transformers' `SpeechT5HifiGan` (config.json with model.safetensors
or pytorch_model.bin), and ParallelWaveGAN's `HiFiGANGenerator` (config.yml, one checkpoint, stats.h5 or
stats.npy). Weight normalisation is folded into the weights. Nothing is unpickled: checkpoints are read with
`weights_only`.
"""

import json
import os
import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_sld.errors import InputError
from espnet_sld.stamps import file_digest
from espnet_sld.vocoder.hifigan import Generator, GeneratorConf, HifiGan
from espnet_sld.vocoder.mel import MelConf

CHECKPOINTS = (".pkl", ".pth", ".pt", ".safetensors")


def load_hifigan(directory: str | os.PathLike) -> HifiGan:
    """Read a directory of either format.

    Raises:
        InputError: it is of neither, weights are missing or do not fit the configuration.
    """
    path = Path(directory)
    if (path / "config.json").is_file():
        return _from_transformers(path)
    if (path / "config.yml").is_file():
        return _from_parallel_wavegan(path)
    raise InputError(
        f"{path}: no HiFi-GAN; it has neither config.json (transformers) nor config.yml (ParallelWaveGAN)"
    )


def _tuples(rows: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in rows)


def _from_transformers(path: Path) -> HifiGan:
    """SpeechT5HifiGan; its analysis is in preprocessor_config.json, or else SpeechT5's."""
    try:
        record = json.loads((path / "config.json").read_text(encoding="utf-8"))
        extra = path / "preprocessor_config.json"
        analysis = json.loads(extra.read_text(encoding="utf-8")) if extra.is_file() else {}
        rates, kernels = tuple(record["upsample_rates"]), tuple(record["upsample_kernel_sizes"])
        conf = GeneratorConf(
            bands=record["model_in_dim"],
            channels=record["upsample_initial_channel"],
            kernel=7,
            rates=rates,
            kernels=kernels,
            paddings=tuple(((kernel - rate) // 2, 0) for kernel, rate in zip(kernels, rates, strict=True)),
            block_kernels=tuple(record["resblock_kernel_sizes"]),
            block_dilations=_tuples(record["resblock_dilation_sizes"]),
            slope=record.get("leaky_relu_slope", 0.1),
        )
        sample_rate = record.get("sampling_rate", 16000)
        window = analysis.get("win_length", 64) * sample_rate // 1000
        mel = MelConf(
            sample_rate=sample_rate,
            n_fft=1 << (window - 1).bit_length(),
            window=window,
            hop=prod(rates),
            bands=conf.bands,
            low_freq=analysis.get("fmin", 80),
            high_freq=analysis.get("fmax", 7600),
            floor=analysis.get("mel_floor", 1e-10),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: config.json is not a SpeechT5HifiGan's ({error!r})") from None
    found = [path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()]
    if not found:
        raise InputError(f"{path}: lacks model.safetensors (or pytorch_model.bin)")
    state = _fold(_read(found[0]), found[0])
    if not record.get("normalize_before", True):
        state |= {"mean": torch.zeros(conf.bands), "scale": torch.ones(conf.bands)}
    return _build(conf, state, mel, found[0])


def _from_parallel_wavegan(path: Path) -> HifiGan:
    """HiFiGANGenerator of ParallelWaveGAN, with the statistics that its features are normalised by."""
    import yaml

    try:
        record = yaml.safe_load((path / "config.yml").read_text(encoding="utf-8"))
        if record.get("generator_type") != "HiFiGANGenerator":
            raise InputError(
                f"{path}: generator_type {record.get('generator_type')}; only HiFiGANGenerator is read"
            )
        own = record["generator_params"]
        activation = own.get("nonlinear_activation", "LeakyReLU"), own.get("nonlinear_activation_params", {})
        if activation[0] != "LeakyReLU":
            raise InputError(f"{path}: nonlinear_activation {activation[0]}; only LeakyReLU is read")
        rates = tuple(own.get("upsample_scales", (8, 8, 2, 2)))
        kernels = own.get("upsample_kernel_sizes", own.get("upsample_kernal_sizes", (16, 16, 4, 4)))
        conf = GeneratorConf(
            bands=own.get("in_channels", 80),
            channels=own.get("channels", 512),
            kernel=own.get("kernel_size", 7),
            rates=rates,
            kernels=tuple(kernels),
            paddings=tuple((rate // 2 + rate % 2, rate % 2) for rate in rates),
            block_kernels=tuple(own.get("resblock_kernel_sizes", (3, 7, 11))),
            block_dilations=_tuples(own.get("resblock_dilations", ((1, 3, 5),) * 3)),
            slope=activation[1].get("negative_slope", 0.1),
            second=own.get("use_additional_convs", True),
            bias=own.get("bias", True),
        )
        base = record.get("log_base", 10.0)
        if base not in (None, 10, 10.0) or record.get("window", "hann") != "hann":
            raise InputError(
                f"{path}: log_base {base}, window {record.get('window')}; only 10 or null, and hann"
            )
        mel = MelConf(
            sample_rate=record["sampling_rate"],
            n_fft=record["fft_size"],
            window=record.get("win_length") or record["fft_size"],
            hop=record["hop_size"],
            bands=record["num_mels"],
            low_freq=record.get("fmin") or 0,
            high_freq=record.get("fmax") or record["sampling_rate"] / 2,
            log_base="e" if base is None else "10",
            floor=1e-10,
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: config.yml is not ParallelWaveGAN's ({error!r})") from None
    found = sorted(file for file in path.iterdir() if file.suffix in CHECKPOINTS)
    if len(found) != 1:
        raise InputError(
            f"{path}: {len(found)} checkpoints ({', '.join(f.name for f in found)}); leave exactly one"
        )
    state = _read(found[0])
    for name in ("model", "generator"):
        state = state.get(name, state) if isinstance(state.get(name, None), dict) else state
    state = {_rename(name): value for name, value in _fold(state, found[0]).items()}
    mean, scale = _statistics(path, conf.bands)
    return _build(conf, {**state, "mean": mean, "scale": scale}, mel, found[0])


def _rename(name: str) -> str:
    """ParallelWaveGAN's name of a parameter → transformers'."""
    for pattern, ours in (
        (r"^input_conv\.", "conv_pre."),
        (r"^output_conv\.1\.", "conv_post."),
        (r"^upsamples\.(\d+)\.1\.", r"upsampler.\1."),
        (r"^blocks\.(\d+)\.convs([12])\.(\d+)\.1\.", r"resblocks.\1.convs\2.\3."),
    ):
        name = re.sub(pattern, ours, name)
    return name


def _statistics(path: Path, bands: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale (M,) of stats.npy (2, M) or of stats.h5 (`mean`, `scale`)."""
    if (path / "stats.npy").is_file():
        values = np.load(path / "stats.npy", allow_pickle=False)
    elif (path / "stats.h5").is_file():
        import h5py

        with h5py.File(path / "stats.h5", "r") as stream:
            values = np.stack([stream["mean"][()], stream["scale"][()]])
    else:
        raise InputError(
            f"{path}: lacks stats.h5 (or stats.npy), by which the generator's features are normalised"
        )
    if values.shape != (2, bands):
        raise InputError(f"{path}: statistics of shape {values.shape}, expected (2, {bands})")
    mean, scale = torch.from_numpy(values.astype(np.float32))
    return mean, scale


def _read(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); download it again") from None
    except Exception as error:  # torch raises pickle.UnpicklingError for what is not plain weights
        raise InputError(
            f"{path}: holds more than weights and is not unpickled ({type(error).__name__})"
        ) from None
    if not isinstance(state, dict):
        raise InputError(f"{path}: not a state dict but a {type(state).__name__}")
    return state


def _fold(state: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The same weights without weight normalisation: w = g · v / ‖v‖, norms over all axes but the first."""
    result, pairs = {}, {}
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: '{name}' is a {type(value).__name__}, not weights")
        match = re.fullmatch(r"(.+)\.(?:weight_(g|v)|parametrizations\.weight\.original([01]))", name)
        if match:
            kind = match[2] or "gv"[int(match[3])]
            pairs.setdefault(f"{match[1]}.weight", {})[kind] = value.float()
        else:
            result[name] = value.float()
    for name, pair in pairs.items():
        if set(pair) != {"g", "v"}:
            raise InputError(f"{path}: {name} has only a part of its weight normalisation")
        norm = pair["v"].flatten(1).norm(dim=1).view(-1, *[1] * (pair["v"].dim() - 1))
        result[name] = pair["v"] * (pair["g"] / norm)
    return result


def _build(conf: GeneratorConf, state: dict[str, torch.Tensor], mel: MelConf, path: Path) -> HifiGan:
    if prod(conf.rates) != mel.hop or conf.bands != mel.bands:
        raise InputError(
            f"{path}: upsamples {prod(conf.rates)} times {conf.bands} bands, its spectra have a hop of "
            f"{mel.hop} and {mel.bands} bands; the configuration does not belong to the weights"
        )
    generator = Generator(conf)
    try:
        generator.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit its configuration: {error}") from None
    return HifiGan(generator.eval().requires_grad_(False), mel, file_digest(path))
