"""Rows of decoding."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from lengths import MAX_POSITIONS, librispeech_like
from measure import Row, rate_row, require, time_pairs
from torch.nn import functional as F

from espnet_sld.inference import generate
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM

TEXT, SPEECH = 500, 1000
TEXT_END, SPEECH_END = TEXT, TEXT + 1
PAD = 1


def random_llama(width: int, layers: int) -> DecoderOnlyLM:
    """The mini recipe's shape with random weights, peaked enough that float32 rounding decides nothing."""
    torch.manual_seed(0)
    conf = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width * 8 // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
    }
    backbone = build_backbone(None, conf, TEXT + 2 + SPEECH, max_positions=1024, dropout=0.0)
    model = DecoderOnlyLM(backbone, PAD).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(4.0)
    return model


class Case(NamedTuple):
    """Prompts and what they may generate: (hypothesis, ended by itself) of each."""

    model: DecoderOnlyLM
    prompts: list[np.ndarray]
    bounds: list[int]
    device: str

    def ours(self) -> list[tuple[list[int], bool]]:
        """Ours, in batches."""
        found = generate(
            self.model,
            self.prompts,
            allowed=range(TEXT + 2 + SPEECH),
            end_id=TEXT_END,
            max_new=self.bounds,
        )
        return [(list(h.ids), h.stopped == "end") for h in found]

    def hugging_face(self, first: int, last: int, stop: bool = True) -> list[tuple[list[int], bool]]:
        """`generate` on prompts first … last − 1 as one batch, padded on the left."""
        prompts = [torch.from_numpy(prompt) for prompt in self.prompts[first:last]]
        width = max(map(len, prompts))
        tokens = torch.stack([F.pad(prompt, (width - len(prompt), 0), value=PAD) for prompt in prompts])
        real = torch.stack([F.pad(torch.ones_like(p), (width - len(p), 0)) for p in prompts])
        bounds = self.bounds[first:last]
        length = {"max_new_tokens": max(bounds)} if stop else {"max_length": MAX_POSITIONS}
        output = self.model.backbone.generate(
            tokens.to(self.device),
            attention_mask=real.to(self.device),
            do_sample=False,
            eos_token_id=TEXT_END if stop else None,
            pad_token_id=PAD,
            **length,
        )
        found = []
        for ids, bound in zip(output[:, width:].tolist(), bounds, strict=True):
            text = ids[:bound]
            ended = TEXT_END in text
            found.append((text[: text.index(TEXT_END)] if ended else text, ended))
        return found


def case(
    utterances: int, *, width: int = 128, layers: int = 4, end_gain: float = 1.5, device: str = "cpu"
) -> Case:
    """Random utterances of LibriSpeech-like lengths.

    Nothing is restricted to text ids, so that the peers pay for no logits processor; all stop at the end
    token or at the utterance's own bound.

    Args:
        end_gain: scales the end token's output row, so that a part of the hypotheses end by themselves.
    """
    model = random_llama(width, layers).to(device)
    model.output_matrix()[TEXT_END].mul_(end_gain)
    rng = np.random.default_rng(0)
    speech, text = librispeech_like(utterances)
    prompts = [np.append(rng.integers(TEXT + 2, TEXT + 2 + SPEECH, n), SPEECH_END) for n in speech]
    return Case(model, prompts, text.tolist(), device)


def _row(step: str, peer_name: str, bar: float, repeats: int, data: Case, peer: Callable, note: str) -> Row:
    number = len(data.prompts)
    with torch.inference_mode():
        own, theirs = data.ours(), peer()
        different = sum(left != right for left, right in zip(own, theirs, strict=True))
        require(different == 0, f"{different} of {number} hypotheses differ from Hugging Face's")
        pairs = time_pairs(data.ours, peer, repeats, data.device)
    ended = sum(stopped for _, stopped in own)
    return rate_row(
        step,
        peer_name,
        pairs,
        items=number,
        unit="utterances/s",
        bar=bar,
        device=data.device,
        description=f"greedy, {number} utterances of LibriSpeech-like lengths, random Llama of "
        f"{data.model.num_parameters() / 1e6:.1f} M parameters; same hypotheses ({ended} end by "
        f"themselves){note}",
    )


def decode_hf1(repeats: int, *, utterances: int = 32, **sizes: Any) -> Row:
    """Hugging Face's `generate`, one utterance at a time."""
    data = case(utterances, **sizes)

    def peer() -> list[tuple[list[int], bool]]:
        return [found for i in range(utterances) for found in data.hugging_face(i, i + 1)]

    name = "Hugging Face generate, batch 1"
    return _row("decode_hf1", name, 5.0, repeats, data, peer, "")


def decode_hf_batched(repeats: int, *, utterances: int = 32, batch: int = 32, **sizes: Any) -> Row:
    """The same in batches, padded on the left, each going on until its last utterance ends."""
    data = case(utterances, **sizes)

    def peer() -> list[tuple[list[int], bool]]:
        return [h for i in range(0, utterances, batch) for h in data.hugging_face(i, i + batch)]

    name = f"Hugging Face generate, batches of {batch}"
    return _row("decode_hf_batched", name, 1.3, repeats, data, peer, "")


def decode_released(repeats: int, *, utterances: int = 4, **sizes: Any) -> Row:
    """The released code's way: no end token, so all go on to position 1024, and are cut after."""
    data = case(utterances, **sizes)

    def peer() -> list[tuple[list[int], bool]]:
        return [found for i in range(utterances) for found in data.hugging_face(i, i + 1, stop=False)]

    note = "; the peer's text after its bound or end token is cut off"
    return _row("decode_released", "generate to position 1024, batch 1", 20.0, repeats, data, peer, note)
