"""Row of units: waveforms → a self-supervised model's frames → cluster ids."""

import tempfile
from typing import Any

import numpy as np
import torch
from measure import Row, rate_row, require, time_pairs

from espnet_sld.units.batches import CPU_SECONDS, GPU_SECONDS, padded_batches
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import KMeans

RATE = 16_000


def random_hubert(folder: str, width: int, layers: int) -> None:
    """A HuBERT of the large kind (layer norms, pre-norm blocks) with random weights, by its config."""
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        conv_dim=(width // 2,) * 7,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=4,
    )
    HubertModel(config).save_pretrained(folder)


def units(
    repeats: int,
    *,
    utterances: int = 12,
    seconds: float = 6.0,
    width: int = 128,
    layers: int = 12,
    layer: int = 10,
    clusters: int = 2000,
    bar: float = 3.0,
    device: str = "cpu",
    step: str = "units",
) -> Row:
    """Ours in batches by length up to the layer asked for; the peer as ESPnet's asr2 scripts do it.

    Those run one utterance at a time through all layers, keep every layer's output, and assign by NumPy
    distances. Layer 10 of 12 is near the 21st of 24 that ESPnet's recipe takes.
    """
    rng = np.random.default_rng(0)
    lengths = (rng.uniform(0.3, 1.7, utterances) * seconds * RATE).astype(int)
    waves = [0.1 * rng.standard_normal(n).astype(np.float32) for n in lengths]
    total = float(lengths.sum()) / RATE
    with tempfile.TemporaryDirectory() as folder:
        random_hubert(folder, width, layers)
        front_end = build_frontend(f"{folder}/{layer}", device=device, backend="transformers")
        peer_model = _all_layers(folder, device)
        some = np.concatenate(front_end.extract([rng.standard_normal(90 * RATE).astype(np.float32)]))
    centroids = np.ascontiguousarray(some[rng.integers(0, len(some), clusters)])
    centroids += 0.05 * rng.standard_normal(centroids.shape).astype(np.float32)
    kmeans = KMeans(centroids)
    transposed, norms = centroids.T, np.square(centroids).sum(axis=1)
    budget = int((CPU_SECONDS if device == "cpu" else GPU_SECONDS) * RATE)  # as the extraction stage has it

    def ours() -> list[np.ndarray]:
        found: list[np.ndarray | None] = [None] * utterances
        for batch in padded_batches(lengths, budget):
            frames = front_end.extract([waves[i] for i in batch])
            for index, features in zip(batch, frames, strict=True):
                found[index] = kmeans.assign(features, device)
        return found

    @torch.inference_mode()
    def peer() -> list[np.ndarray]:
        found = []
        for wave in waves:
            samples = torch.from_numpy(wave)
            if front_end.normalise:
                samples = torch.nn.functional.layer_norm(samples, samples.shape)
            output = peer_model(samples[None].to(device), output_hidden_states=True)
            x = output.hidden_states[layer][0].cpu().numpy()
            found.append(np.argmin(np.square(x).sum(1, keepdims=True) - 2 * x @ transposed + norms, axis=1))
        return found

    own, theirs = ours(), peer()
    different = sum(int((a != b).sum()) for a, b in zip(own, theirs, strict=True))
    number = sum(map(len, own))
    require(different <= number // 500, f"{different} of {number} units differ from the peer's")
    return rate_row(
        step,
        "batch 1, all layers, NumPy assignment",
        time_pairs(ours, peer, repeats, device),
        items=round(total),
        unit="audio s/s",
        bar=bar,
        device=device,
        description=f"random HuBERT {layers} × {width}, layer {layer}, K = {clusters}, {utterances} "
        f"utterances, {total:.0f} s of audio; {different} of {number} units differ (float32 ties); features "
        "on disk: 0 bytes",
    )


def units_short(repeats: int, *, utterances: int = 120, seconds: float = 0.5, **sizes: Any) -> Row:
    """The same with utterances of 0.15 to 0.85 s, as single digits or commands are."""
    return units(repeats, utterances=utterances, seconds=seconds, step="units_short", **sizes)


def _all_layers(folder: str, device: str):
    from transformers import HubertModel

    return HubertModel.from_pretrained(folder).eval().to(device)
