"""Rows of decoding."""

import numpy as np
import torch
from lengths import librispeech_like
from measure import Row, rate_row, require, time_pairs

from espnet_sld.inference import generate
from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM

TEXT, SPEECH = 500, 1000
TEXT_END, SPEECH_END = TEXT, TEXT + 1
PAD = 1


def random_llama(width: int = 128, layers: int = 4) -> DecoderOnlyLM:
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


def decode_hf1(
    repeats: int, *, utterances: int = 32, width: int = 128, layers: int = 4, end_gain: float = 1.5
) -> Row:
    """Greedy decoding of whole utterances: ours in batches, Hugging Face `generate` one at a time.

    Neither is restricted to text ids, so that the peer pays for no logits processor; both stop at the end
    token or at the utterance's own bound.

    Args:
        end_gain: scales the end token's output row, so that a part of the hypotheses end by themselves.
    """
    model = random_llama(width, layers)
    model.output_matrix()[TEXT_END].mul_(end_gain)
    rng = np.random.default_rng(0)
    speech, text = librispeech_like(utterances)
    prompts = [np.append(rng.integers(TEXT + 2, TEXT + 2 + SPEECH, n), SPEECH_END) for n in speech]
    bounds = text.tolist()
    tensors = [torch.from_numpy(prompt)[None] for prompt in prompts]

    def ours() -> list[tuple[list[int], bool]]:
        found = generate(model, prompts, allowed=range(TEXT + 2 + SPEECH), end_id=TEXT_END, max_new=bounds)
        return [(list(h.ids), h.stopped == "end") for h in found]

    @torch.inference_mode()
    def peer() -> list[tuple[list[int], bool]]:
        found = []
        for tokens, bound in zip(tensors, bounds, strict=True):
            output = model.backbone.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=bound,
                do_sample=False,
                eos_token_id=TEXT_END,
                pad_token_id=PAD,
            )
            ids = output[0, tokens.size(1) :].tolist()
            ended = ids[-1] == TEXT_END
            found.append((ids[:-1] if ended else ids, ended))
        return found

    own, theirs = ours(), peer()
    different = sum(left != right for left, right in zip(own, theirs, strict=True))
    require(different == 0, f"{different} of {utterances} hypotheses differ from Hugging Face's")
    ended = sum(stopped for _, stopped in own)
    return rate_row(
        "decode_hf1",
        "Hugging Face generate, batch 1",
        time_pairs(ours, peer, repeats),
        items=utterances,
        unit="utterances/s",
        bar=5.0,
        description=f"greedy, {utterances} utterances of LibriSpeech-like lengths, random Llama of "
        f"{model.num_parameters() / 1e6:.1f} M parameters; same hypotheses ({ended} end by themselves)",
    )
