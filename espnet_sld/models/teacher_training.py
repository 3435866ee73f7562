"""The embedded teacher: a small BERT trained on transcripts, on the student's own tokens."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from espnet_sld.errors import InputError
from espnet_sld.models.id_rows import IdRows
from espnet_sld.models.masking import mask_generator
from espnet_sld.models.teacher import TEACHER_FILE, masked_logits

SMALL = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 512,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
POOL = 100  # batches whose transcripts are sorted by length together


@dataclass(frozen=True)
class TeacherTraining:
    """Options of the training loop.

    Attributes:
        max_steps: optimiser steps. warmup_steps: linear warm-up, then linear decay to 0.
        batch_tokens: rows × longest row of a batch.
        lr, weight_decay, grad_clip: AdamW's, and the bound of the gradient's norm.
        mask_probability: share of tokens that are masked, drawn anew each time; at least one a transcript.
            All of them become the mask token: labels are only ever asked for at masked places, so BERT's
            random and kept tokens have no use here.
        eval_interval: steps between looks at the held-out transcripts; the best of these looks is kept.
        seed: of initial values, order, masks and dropout.
    """

    max_steps: int = 20000
    warmup_steps: int = 1000
    batch_tokens: int = 4096
    lr: float = 5e-4
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    mask_probability: float = 0.15
    eval_interval: int = 500
    seed: int = 0

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any] | None) -> "TeacherTraining":
        """Options from the config; unknown or impossible ones are an InputError."""
        conf, known = dict(conf or {}), [field.name for field in fields(cls)]
        if unknown := sorted(set(conf) - set(known)):
            raise InputError(
                f"teacher_conf: unknown option {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        made = cls(**conf)
        for field in fields(cls):
            value, whole = getattr(made, field.name), isinstance(field.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                raise InputError(f"teacher_conf: {field.name} is {kind}, not '{value}'")
        if not 0 < made.mask_probability < 1:
            raise InputError(
                f"teacher_conf: mask_probability is between 0 and 1, not {made.mask_probability}"
            )
        for name in ("max_steps", "batch_tokens", "eval_interval"):
            if getattr(made, name) < 1:
                raise InputError(f"teacher_conf: {name} is at least 1")
        return made


def bert_config(vocabulary_size: int, conf: Mapping[str, Any] | None = None) -> BertConfig:
    """A BERT over the student's V ids and one more, the mask; `conf` changes `SMALL`."""
    conf = dict(conf or {})
    default = BertConfig()
    if unknown := sorted(key for key in conf if not hasattr(default, key)):
        raise InputError(f"bert_conf: BERT has no option {', '.join(unknown)}; e.g. {', '.join(SMALL)}")
    try:
        return BertConfig(
            **{**SMALL, **conf},
            vocab_size=vocabulary_size + 1,
            pad_token_id=0,
            bos_token_id=vocabulary_size - 1,
            eos_token_id=vocabulary_size - 1,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"bert_conf: {error}") from error


def train_teacher(
    transcripts: Iterable[Sequence[int]],
    token_list: Sequence[str],
    directory: str | Path,
    *,
    held_out: Iterable[Sequence[int]] = (),
    bert_conf: Mapping[str, Any] | None = None,
    teacher_conf: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Train a BERT on transcripts (student ids) and save it as a Hugging Face directory.

    Args:
        transcripts: ids 1…V−2, from the recogniser's text and any other text on its tokens; read once.
        token_list: the student's, `<blank>` first and `<sos/eos>` last; the mask is one more id.
        held_out: transcripts whose loss chooses the step that is kept; none = the last step.

    Returns:
        step kept, mean loss a masked token: `train_loss` (last interval), `held_out_loss`; `parameters`; and
        the numbers of `sentences` and `held_out_sentences`.
    """
    options, vocabulary = TeacherTraining.from_conf(teacher_conf), len(token_list)
    settings = bert_config(vocabulary, bert_conf)
    data, checks = IdRows(transcripts), IdRows(held_out)
    if not len(data):
        raise InputError("the teacher has no transcript to learn from; give it text that is not empty")
    for rows in (data, checks):
        rows.check(1, vocabulary - 2)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        try:
            model = BertForMaskedLM(settings).to(device)
        except (TypeError, ValueError) as error:
            raise InputError(f"bert_conf: {error}") from error
        result = _fit(model, data, checks, options)
    save_teacher(model, token_list, directory)
    return {
        **result,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sentences": data.given,
        "held_out_sentences": checks.given,
    }


def _fit(model: BertForMaskedLM, data: IdRows, checks: IdRows, options: TeacherTraining) -> dict[str, Any]:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), weight_decay=options.weight_decay)
    result: dict[str, Any] = {"step": options.max_steps, "train_loss": None, "held_out_loss": None}
    best, kept, total, masked = float("inf"), None, 0.0, 0
    window = model.config.max_position_embeddings - 3
    batches = _endless(data, options, window)
    model.train()
    for step in range(1, options.max_steps + 1):
        warm = step / options.warmup_steps if options.warmup_steps else 1.0
        left = (options.max_steps - step + 1) / max(options.max_steps - options.warmup_steps, 1)
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(warm, left, 1.0)
        loss, count = masked_loss(model, next(batches), options, mask_generator(options.seed, 1, step))
        optimiser.zero_grad()
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.grad_clip)
        optimiser.step()
        total, masked = total + loss.item(), masked + count
        if step % options.eval_interval and step < options.max_steps:
            continue
        result["train_loss"], total, masked = total / masked, 0.0, 0
        logging.info("teacher step %d: loss %.4f a masked token", step, result["train_loss"])
        if len(checks) and (value := _held_out(model, checks, options, window)) < best:
            best, kept = value, {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}
            result |= {"step": step, "held_out_loss": best}
            logging.info("teacher step %d: best held-out loss so far, %.4f", step, best)
    if kept is not None:
        model.load_state_dict(kept)
    return result


def masked_loss(
    model: BertForMaskedLM, rows: list[Tensor], options: TeacherTraining, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Σ −log p of the masked tokens of some transcripts, and how many they are."""
    end, mask = model.config.eos_token_id, model.config.vocab_size - 1
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, L), 0 at padding
    real = torch.arange(tokens.size(1)) < lengths[:, None]
    draws = torch.rand(tokens.shape, generator=generator).masked_fill(~real, 2.0)
    chosen = draws < options.mask_probability
    chosen[torch.arange(len(rows)), draws.argmin(1)] = True  # at least one a transcript
    inputs = torch.zeros(len(rows), tokens.size(1) + 2, dtype=torch.int64)
    inputs[:, 0] = end
    inputs[:, 1:-1] = tokens.masked_fill(chosen, mask)
    inputs[torch.arange(len(rows)), lengths + 1] = end
    attention = (torch.arange(inputs.size(1)) < lengths[:, None] + 2).long()
    device = model.device
    where_row, where_column = chosen.nonzero(as_tuple=True)
    logits = masked_logits(
        model, inputs.to(device), attention.to(device), where_row.to(device), where_column.to(device) + 1
    )
    targets = tokens[chosen].to(device)
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum"), len(targets)


@torch.no_grad()
def _held_out(model: BertForMaskedLM, checks: IdRows, options: TeacherTraining, window: int) -> float:
    """Mean loss a masked token, always with the same masks."""
    model.eval()
    total, masked = 0.0, 0
    ordered = sorted((row[:window] for row in checks), key=len)
    for number, rows in enumerate(_cut(ordered, options.batch_tokens)):
        loss, count = masked_loss(model, rows, options, mask_generator(options.seed, 2, number))
        total, masked = total + loss.item(), masked + count
    model.train()
    return total / masked


def _endless(data: IdRows, options: TeacherTraining, window: int) -> Iterator[list[Tensor]]:
    """Batches of transcripts in random order, of like lengths; longer than the window, cut at random."""
    generator = mask_generator(options.seed, 0)
    pool = max(int(POOL * options.batch_tokens * len(data) / data.tokens), 1)
    while True:
        order = torch.randperm(len(data), generator=generator)
        for places in order.split(pool):
            rows = []
            for place in places.tolist():
                row = data[place]
                spare = max(len(row) - window, 0)
                first = int(torch.randint(spare + 1, (1,), generator=generator)) if spare else 0
                rows.append(row[first : first + window])
            batches = list(_cut(sorted(rows, key=len), options.batch_tokens))
            yield from (
                batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()
            )


def _cut(rows: list[Tensor], budget: int) -> Iterator[list[Tensor]]:
    """Batches of rows × (longest + 2) within the budget, of rows sorted by length."""
    batch: list[Tensor] = []
    for row in rows:
        if batch and (len(batch) + 1) * (len(row) + 2) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def save_teacher(model: BertForMaskedLM, token_list: Sequence[str], directory: str | Path) -> None:
    """Write weights, config and token list as one directory, which appears whole."""
    directory, end = Path(directory), len(token_list) - 1
    directory.parent.mkdir(parents=True, exist_ok=True)
    own = {"tokens": list(token_list), "mask_id": end + 1, "pad_id": 0, "start_id": end, "end_id": end}
    beside = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        model.save_pretrained(beside)
        (beside / TEACHER_FILE).write_text(json.dumps(own, ensure_ascii=False) + "\n", encoding="utf-8")
        beside.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        beside.rename(directory)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
