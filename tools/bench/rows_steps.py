"""Rows of whole training steps: useful tokens a second, and the ESPnet path beside the bare loop."""

import contextlib
import copy
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lengths import MAX_POSITIONS, librispeech_like, sequences
from measure import Pairs, Row, limit_share, now, rate_row, require, time_pairs
from rows_training import padded, released_criterion, released_labels, released_loss
from torch import Tensor, nn

from espnet_sld.models.backbone import build_backbone
from espnet_sld.models.decoder_only import DecoderOnlyLM
from espnet_sld.models.flops import FlopCounter
from espnet_sld.tasks.batching import fixed_batches

PEER_ROWS = 8  # utterances of a batch of the released loop


class Training(NamedTuple):
    """One pass over some utterances by ours and by the released loop: forward, backward, AdamW."""

    ours: Callable[[], None]
    peer: Callable[[], None]
    lengths: np.ndarray
    model: DecoderOnlyLM
    sizes: str


def training(
    *,
    utterances: int = 16,
    width: int = 256,
    layers: int = 4,
    heads: int = 4,
    text_vocabulary: int = 500,
    speech_vocabulary: int = 6000,
    device: str = "cpu",
    half: bool = False,
) -> Training:
    """Ours: batches by token budget, fused attention, the objective on targets alone. Peer: rows padded to
    1024 with a mask, attention written out, the released loss. `half` = bfloat16 autocast, for a GPU.

    Raises:
        AssertionError: the losses of the two differ.
    """
    samples = sequences(utterances, text_vocabulary, speech_vocabulary)
    torch.manual_seed(0)
    conf = {"model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads}
    size = text_vocabulary + 2 + speech_vocabulary
    model = DecoderOnlyLM(build_backbone(None, conf, size, max_positions=MAX_POSITIONS, dropout=0.0), 0)
    model.to(device)
    eager = copy.deepcopy(model)
    eager.backbone.set_attn_implementation("eager")
    criterion = released_criterion(text_vocabulary, speech_vocabulary)
    steps = {m: torch.optim.AdamW(m.parameters(), 1e-5, weight_decay=0.0) for m in (model, eager)}

    def cast() -> contextlib.AbstractContextManager:
        return torch.autocast(device, torch.bfloat16) if half else contextlib.nullcontext()

    def own_loss(chosen: np.ndarray) -> Tensor:
        tokens, kinds = padded([samples[i] for i in chosen], device)
        with cast():
            parts = criterion(model.hidden(tokens), model.output_matrix(), tokens, kinds)
        return criterion.total(parts, criterion.counts(tokens, kinds))

    def peer_loss(chosen: np.ndarray) -> Tensor:
        tokens, kinds, labels = released_labels([samples[i] for i in chosen], device)
        with cast():
            output = eager.backbone.base_model(
                input_ids=tokens, attention_mask=(kinds != 0).long(), use_cache=False
            )
            return released_loss(
                output.last_hidden_state, eager.output_matrix(), labels, text_vocabulary, speech_vocabulary
            )

    def one_pass(chosen_model: DecoderOnlyLM, loss_of: Callable, batches: list[np.ndarray]) -> None:
        for chosen in batches:
            loss_of(chosen).backward()
            steps[chosen_model].step()
            steps[chosen_model].zero_grad(set_to_none=True)

    lengths = np.array([len(ids) for ids, _ in samples])
    own_batches = fixed_batches(lengths, PEER_ROWS * MAX_POSITIONS)
    peer_batches = [np.arange(i, min(i + PEER_ROWS, utterances)) for i in range(0, utterances, PEER_ROWS)]
    with torch.no_grad():
        first, second = own_loss(peer_batches[0]), peer_loss(peer_batches[0])
    close = torch.isclose(first.float(), second.float(), rtol=2e-2 if half else 1e-4)
    require(bool(close), f"loss {first} but the released loop's {second}")
    return Training(
        lambda: one_pass(model, own_loss, own_batches),
        lambda: one_pass(eager, peer_loss, peer_batches),
        lengths,
        model,
        f"GPT-2 shape {layers} × {width}, V = {size}, SLD, AdamW, {utterances} utterances of "
        f"LibriSpeech-like lengths, {int(lengths.sum())} tokens, peer in batches of {PEER_ROWS} × 1024; the "
        "same loss",
    )


def train_tokens(
    repeats: int, *, bar: float = 4.0, device: str = "cpu", half: bool = False, **sizes: int
) -> Row:
    """Real (useful) tokens a second of `training`."""
    case = training(device=device, half=half, **sizes)
    pairs = time_pairs(case.ours, case.peer, repeats + 1, device)
    pairs = Pairs(pairs.ours[1:], pairs.peer[1:])  # the first makes the optimisers' states
    tokens = int(case.lengths.sum())
    flops = FlopCounter(case.model).training(case.lengths, tokens - len(case.lengths))
    return rate_row(
        "train_tokens",
        "released loop, padded to 1024, eager attention",
        pairs,
        items=tokens,
        unit="tokens/s",
        bar=bar,
        device=device,
        limit_share=limit_share(
            flops, float(np.median(pairs.ours)), device, torch.bfloat16 if half else torch.float32
        ),
        description=f"{case.sizes}. Limit: the model's FLOPs on real tokens (MFU)",
    )


def espnet_path(repeats: int, *, utterances: int = 200, width: int = 128, layers: int = 4) -> Row:
    """An epoch by the toolkit's trainer, iterator and statistics, and the bare loop over the same batches."""
    from espnet_sld.bin.train import load_task

    task = load_task()
    trainer = task.trainer
    real, pairs, steps = trainer.train_one_epoch.__func__, Pairs([], []), []

    def timed(cls, model, iterator, optimizers, *args, **kwargs):
        before = copy.deepcopy(model), copy.deepcopy(optimizers[0].state_dict())
        batches: list = []
        start = now()
        result = real(cls, model, _Recorded(iterator, batches), optimizers, *args, **kwargs)
        pairs.ours.append(now() - start)
        bare = torch.optim.AdamW(before[0].parameters(), 1e-4, weight_decay=0.0)
        bare.load_state_dict(before[1])
        start = now()
        _bare_epoch(before[0], bare, batches)
        pairs.peer.append(now() - start)
        steps.append(len(batches))
        for (name, own), plain in zip(model.named_parameters(), before[0].parameters(), strict=True):
            require(torch.allclose(own, plain, atol=1e-6), f"the trainer's {name} is not the bare loop's")
        return result

    trainer.train_one_epoch = classmethod(timed)
    threads = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            task.main(cmd=_options(Path(folder), utterances, width, layers, repeats + 1))
    finally:
        trainer.train_one_epoch = classmethod(real)
        torch.set_num_threads(threads)
    pairs = Pairs(pairs.ours[1:], pairs.peer[1:])
    return rate_row(
        "espnet_path",
        "bare loop: forward, backward, clipping, AdamW",
        pairs,
        items=steps[-1],
        unit="steps/s",
        bar=0.95,
        description=f"epochs of {steps[-1]} steps over {utterances} utterances, Llama {layers} × {width}; "
        "parameters after each epoch equal the bare loop's",
    )


class _Recorded:
    """An epoch's iterator whose batches are kept."""

    def __init__(self, iterator, batches: list):
        self.iterator, self.batches = iterator, batches

    def __iter__(self) -> Iterator:
        for item in self.iterator:
            self.batches.append(item)
            yield item

    def __len__(self) -> int:
        return len(self.iterator)

    def __getattr__(self, name: str):
        return getattr(self.iterator, name)


def _bare_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list) -> None:
    model.train()
    for _, batch in batches:
        model(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _options(folder: Path, utterances: int, width: int, layers: int, epochs: int) -> list[str]:
    """Random unit text and transcripts in `folder`, and the command line that trains on them."""
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(200)]
    lines: dict[str, list[str]] = {"speech": [], "text": []}
    for number, (units, text) in enumerate(zip(*librispeech_like(utterances), strict=True)):
        name = f"u{number:06d}"
        lines["speech"].append(f"{name} {''.join(map(chr, 0x4E00 + rng.integers(0, 500, units)))}")
        lines["text"].append(f"{name} {' '.join(rng.choice(words, text))}")
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    tokens = ["<blank>", "<unk>", *words, "<sos/eos>"]
    (folder / "tokens.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    data = [
        option
        for phase in ("train", "valid")
        for name in ("speech", "text")
        for option in (f"--{phase}_data_path_and_name_and_type", f"{folder / name},{name},text")
    ]
    heads = max(1, width // 32)
    backbone = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": 8 * width // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    conf = [option for key, value in backbone.items() for option in ("--backbone_conf", f"{key}={value}")]
    return [
        *data,
        *conf,
        *("--output_dir", str(folder / "exp"), "--text_token_type", "word"),
        *("--text_token_path", str(folder / "tokens.txt"), "--speech_token_type", "unit"),
        *("--num_clusters", "500", "--max_epoch", str(epochs), "--batch_bins", "4000"),
        *("--optim_conf", "lr=0.0001", "--optim_conf", "weight_decay=0.0", "--dropout", "0.0"),
        *("--grad_clip", "5", "--ngpu", "0", "--log_interval", "20", "--save_interval_minutes", "0"),
    ]
