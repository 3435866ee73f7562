"""A masked LM that judges transcripts: any Hugging Face directory, on the student's vocabulary."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel

from espnet_sld.errors import InputError

TEACHER_FILE = "teacher.json"  # what a tokenizer would say: the token list and the special ids
UNKNOWN = "<unk>"
STUDENT_SPECIALS = frozenset({"<blank>", UNKNOWN, "<sos/eos>", "<sos>", "<eos>"})


class MaskedTeacher:
    """A masked LM and how the student's ids map to its own.

    Args:
        model: in evaluation mode, on its device.
        to_teacher: (V,) teacher id of each student id, −1 where it has none.
        candidates: student ids that soft labels may contain.
        mask_id, pad_id: teacher ids. start_id, end_id: put around a transcript; None = nothing.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        to_teacher: Sequence[int],
        candidates: Sequence[int],
        *,
        mask_id: int,
        pad_id: int,
        start_id: int | None,
        end_id: int | None,
    ):
        self.model, self.device = model, model.device
        self.to_teacher = np.asarray(to_teacher, dtype=np.int64)
        self.candidates = np.asarray(candidates, dtype=np.int64)
        self.columns = torch.as_tensor(self.to_teacher[self.candidates], device=self.device)
        self.mask_id, self.pad_id = mask_id, pad_id
        self.before = [] if start_id is None else [start_id]
        self.after = [] if end_id is None else [end_id]
        self.window = most_tokens(model, pad_id) - len(self.before) - len(self.after)
        if self.window < 1:
            raise InputError(f"the teacher has {self.window} positions for tokens; take a larger one")

    def translate(self, tokens: Sequence[int]) -> np.ndarray:
        """Teacher ids (L,) of a transcript.

        Raises:
            InputError: a token that the teacher does not have.
        """
        tokens = np.asarray(tokens, dtype=np.int64)
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < len(self.to_teacher)):
            raise InputError(f"a transcript has an id outside the student's {len(self.to_teacher)} tokens")
        found = self.to_teacher[tokens]
        if (found < 0).any():
            raise InputError(f"token {tokens[found < 0][0]} of a transcript is not one of the teacher's")
        return found

    def rows(self, tokens: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, W) with positions first…last−1 masked in turn, and the masked columns (n,).

        A transcript longer than the teacher's positions is cut to a window around the masked one.
        """
        positions, size = np.arange(first, last), min(len(tokens), self.window)
        starts = np.clip(positions - size // 2, 0, len(tokens) - size)
        inputs = tokens[starts[:, None] + np.arange(size)]
        inputs[np.arange(len(positions)), positions - starts] = self.mask_id
        before, after = (np.tile(ids, (len(positions), 1)) for ids in (self.before, self.after))
        inputs = np.concatenate([before, inputs, after], 1).astype(np.int64)
        return inputs, positions - starts + len(self.before)


def load_teacher(
    directory: str | Path, token_list: Sequence[str], *, device: str | torch.device = "cpu"
) -> MaskedTeacher:
    """Load a masked LM (Hugging Face directory) for a student's token list.

    A directory written by `train_teacher` carries its token list, which must be the student's. Any other one
    needs its tokenizer's files, and every token of the student must be, by its spelling, one of that
    tokenizer's; the student's own specials (`<blank>`, `<sos/eos>`) need not.

    Raises:
        InputError: no such directory, not a masked LM, or another vocabulary.
    """
    directory = Path(directory)
    model = _load(directory).to(device).eval()
    described = directory / TEACHER_FILE
    specials = {place for place, token in enumerate(token_list) if token in STUDENT_SPECIALS}
    if described.is_file():
        own = json.loads(described.read_text(encoding="utf-8"))
        if own["tokens"] != list(token_list):
            raise InputError(
                f"{directory}: trained on another token list ({len(own['tokens'])} tokens, the student has "
                f"{len(token_list)}, or in another order); train the teacher again on the student's"
            )
        to_teacher = list(range(len(token_list)))
        ids = {name: own[name] for name in ("mask_id", "pad_id", "start_id", "end_id")}
    else:
        to_teacher, ids, known = _by_tokenizer(directory, token_list, specials)
        specials |= known
    candidates = [place for place in range(len(token_list)) if place not in specials]
    if not candidates:
        raise InputError(f"{directory}: the token list has no token besides the specials")
    return MaskedTeacher(model, to_teacher, candidates, **ids)


def _by_tokenizer(
    directory: Path, token_list: Sequence[str], specials: set[int]
) -> tuple[list[int], dict[str, int | None], set[int]]:
    """Teacher ids of the student's tokens, the ids around them, and the student's places of specials."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{directory}: neither {TEACHER_FILE} nor a tokenizer ({str(error).splitlines()[0]}); "
            "put the tokenizer's files beside the weights"
        ) from error
    if tokenizer.mask_token_id is None:
        raise InputError(f"{directory}: its tokenizer has no mask token, so this is no masked LM")
    vocabulary, special_ids = tokenizer.get_vocab(), set(tokenizer.all_special_ids)
    to_teacher = [
        -1 if token in STUDENT_SPECIALS and token != UNKNOWN else vocabulary.get(token, -1)
        for token in token_list
    ]
    if UNKNOWN in token_list and tokenizer.unk_token_id is not None:
        to_teacher[list(token_list).index(UNKNOWN)] = tokenizer.unk_token_id
    lacking = [token_list[p] for p, found in enumerate(to_teacher) if found < 0 and p not in specials]
    if lacking:
        raise InputError(
            f"{directory}: {len(lacking)} of the student's {len(token_list)} tokens, e.g. '{lacking[0]}', "
            "are not in the teacher's vocabulary; train the student on the teacher's token list, or let the "
            "recipe train a teacher on the student's"
        )
    pad = tokenizer.pad_token_id
    ids = {
        "mask_id": tokenizer.mask_token_id,
        "pad_id": pad if pad is not None else 0,
        "start_id": tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id,
        "end_id": tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id,
    }
    return to_teacher, ids, {place for place, found in enumerate(to_teacher) if found in special_ids}


def _load(directory: Path) -> PreTrainedModel:
    if not directory.is_dir():
        raise InputError(
            f"teacher {directory}: no such directory; train one, or name a Hugging Face directory"
        )
    try:
        model, report = AutoModelForMaskedLM.from_pretrained(
            str(directory),
            use_safetensors=bool(list(directory.glob("*.safetensors"))),
            weights_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"teacher {directory}: {str(error).splitlines()[0]}") from error
    lacking = sorted(map(str, [*report["missing_keys"], *report.get("mismatched_keys", [])]))
    if lacking:
        raise InputError(f"teacher {directory}: no masked LM, its weights lack {', '.join(lacking[:3])}")
    return model


def most_tokens(model: PreTrainedModel, pad_id: int) -> int:
    """Longest input of a masked LM. RoBERTa's kin count positions from pad_id + 1: that many fewer."""
    positions = getattr(model.config, "max_position_embeddings", 0)
    # Their table has a row for padding; elsewhere pad_id is no position (ModernBERT's is beyond them all).
    shifted = any(
        name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        for name, module in model.named_modules()
    )
    return positions - (pad_id if shifted else 0) - 1 if positions > 0 else 512


def masked_logits(
    model: PreTrainedModel, inputs: Tensor, attention: Tensor, rows: Tensor, columns: Tensor
) -> Tensor:
    """Logits (n, V) at the places (rows, columns) of inputs (B, W): the output layer sees no other place."""
    output = model.get_output_embeddings()
    hook = None
    if output is not None:
        hook = output.register_forward_pre_hook(
            lambda _, arguments: (arguments[0][rows, columns], *arguments[1:])
        )
    try:
        logits = model(input_ids=inputs, attention_mask=attention).logits
    finally:
        if hook is not None:
            hook.remove()
    return logits[rows, columns] if logits.dim() == 3 else logits  # a head of its own kind: choose afterwards
