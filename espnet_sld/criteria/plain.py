"""The speech-text losses written plainly, tensor by tensor: what the fused form is checked against."""

import torch
from torch import Tensor

PAD = -100


def speech_text_losses(
    logits: Tensor,
    labels: Tensor,
    *,
    text_vocabulary: int,
    speech_vocabulary: int,
    epsilon: float = 0.1,
    temperature: float = 1.0,
    kl_scope: str = "speech",
    kl_reduction: str = "utterance",
) -> dict[str, Tensor]:
    """CE_text, CE_speech (Eqs. 1–2, as means) and the KL to the smoothed label (Eqs. 4–5).

    Ids: text 0…V_t−1 · `<text_end>` V_t · `<speech_end>` V_t+1 · speech V_t+2+piece.

    Args:
        logits: (B, T, V); `logits[:, t]` predicts `labels[:, t+1]`. Half precision is raised to float32.
        labels: (B, T) unshifted joint ids, −100 = pad.
        epsilon, temperature: ε and T of Eq. 5.
        kl_scope: "speech": targets that are speech pieces. "released": as the authors' code, every position
            whose *input* is not a pad; text and end targets are clamped to piece 0, and where the target is
            a pad (after `<text_end>`, if the tensor goes on) q' is exactly uniform.
        kl_reduction: "utterance": T²·ΣKL / B, as the authors' code; "token": T²·ΣKL / (number of KL targets).

    Returns:
        scalars `ce_text`, `ce_speech`, `kl`; a mean over no target is 0.
    """
    _check(kl_scope, kl_reduction, logits, text_vocabulary + 2 + speech_vocabulary)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    inputs, targets = labels[:, :-1], labels[:, 1:]  # (B, T-1)
    logits = logits[:, :-1]
    first_piece = text_vocabulary + 2

    log_probabilities = logits.log_softmax(-1)
    negative = -log_probabilities.gather(-1, targets.clamp(min=0)[..., None])[..., 0]  # (B, T-1)
    is_text = (targets >= 0) & (targets <= text_vocabulary)
    is_speech = targets > text_vocabulary

    # q' over the pieces: one-hot rows; a pad target leaves the row empty, hence uniform
    pieces = (targets - first_piece).clamp(min=0)
    onehot = torch.nn.functional.one_hot(pieces, speech_vocabulary).to(logits.dtype)
    onehot = onehot * (targets != PAD)[..., None]
    log_q = (((1 - epsilon) * onehot + epsilon / speech_vocabulary) / temperature).log_softmax(-1)
    log_p = (logits[..., first_piece : first_piece + speech_vocabulary] / temperature).log_softmax(-1)
    divergence = (log_q.exp() * (log_q - log_p)).sum(-1)  # (B, T-1)
    in_scope = targets >= first_piece if kl_scope == "speech" else inputs != PAD

    kl_sum = temperature**2 * divergence[in_scope].sum()
    kl_count = len(labels) if kl_reduction == "utterance" else int(in_scope.sum())
    return {
        "ce_text": _mean(negative[is_text]),
        "ce_speech": _mean(negative[is_speech]),
        "kl": kl_sum / max(kl_count, 1),
    }


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)


def _check(kl_scope: str, kl_reduction: str, logits: Tensor, size: int) -> None:
    if kl_scope not in {"speech", "released"}:
        raise ValueError(f"kl_scope is speech or released, not '{kl_scope}'")
    if kl_reduction not in {"utterance", "token"}:
        raise ValueError(f"kl_reduction is utterance or token, not '{kl_reduction}'")
    if logits.size(-1) != size:
        raise ValueError(f"logits have {logits.size(-1)} classes, the vocabularies give {size}")
