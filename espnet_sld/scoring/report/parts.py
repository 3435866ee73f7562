"""Figures of a training: what the page calls them, their order, and which are part of the loss."""

from collections.abc import Iterable, Mapping
from typing import Any

from espnet_sld.scoring.plots import PART_NAMES as SLD_NAMES
from espnet_sld.scoring.report.experiment import Experiment

NAMES = {
    **SLD_NAMES,
    "ce_image": "CE of images (nats a token)",
    "acc_image": "accuracy on images",
    "ctc": "CTC, last layer (nats an utterance)",
    "ctc_inter": "CTC, intermediate layers (nats an utterance)",
    "ctc_kd": "teacher at the CTC's peaks (nats an utterance)",
    "aed": "decoder, last layer (nats an utterance)",
    "aed_inter": "decoders, intermediate layers (nats an utterance)",
    "ter": "token errors of greedy CTC (%)",
    "infeasible": "utterances with too few frames (share)",
}
SPEED = {
    "lr": "learning rate",
    "tokens_per_second": "throughput (tokens a second)",
    "padding": "padding (% of positions)",
    "grad_norm": "gradient norm",
    "mfu": "model FLOPs utilisation (%, estimated)",
    "skipped_steps": "skipped steps",
}
# A row of three charts each: by modality, or by layer.
ORDER = {
    "sld": tuple(SLD_NAMES),
    "dmlm": ("ce_text", "ce_speech", "ce_image", "acc_text", "acc_speech", "acc_image", "ce_smoothed", "kl",
             "loss"),
    "ctc": ("loss", "ctc", "ctc_inter", "ter", "aed", "aed_inter", "ctc_kd", "infeasible"),
}  # fmt: skip
LAMBDAS = {"lambda_text": 0.93, "lambda_speech": 0.25, "lambda_image": 0.25}  # of `ModalityCriterion`
SPEECH_PARTS = {  # what the speech part of the loss is, by objective
    "none": (), "ce": ("ce_speech",), "label_smoothing": ("ce_smoothed",), "kl": ("kl",),
    "sld": ("ce_speech", "kl"), "matched": ("ce_smoothed",), "ce_weighted": ("ce_speech",),
}  # fmt: skip


def ordered(experiment: Experiment, found: Iterable[str]) -> list[str]:
    """Loss parts and accuracies among the `found` figures, in the order in which they are shown."""
    order = ORDER[experiment.system]
    names = dict.fromkeys((*order, *NAMES, *found))
    there = set(found) - set(SPEED)
    return [name for name in names if name in there]


def weights(experiment: Experiment) -> dict[str, float]:
    """Loss part → its weight; empty where the configuration does not say it."""
    config = experiment.config
    if experiment.system == "ctc":
        known = config.get("criterion_weights") or {}
        return {name: float(value) for name, value in known.items() if name != "beta"}
    if experiment.system != "dmlm" or config.get("criterion", "modality") != "modality":
        return {}
    conf: Mapping[str, Any] = config.get("criterion_conf") or {}
    factors = {name: float(conf.get(name, value)) for name, value in LAMBDAS.items()}
    inner = {"kl": conf.get("alpha", 0.008)}
    if conf.get("speech_objective") in ("matched", "ce_weighted"):
        inner |= dict.fromkeys(("ce_smoothed", "ce_speech"), conf.get("speech_weight", 1.0))
    found = {"ce_text": factors["lambda_text"], "ce_image": factors["lambda_image"]}
    for part in SPEECH_PARTS.get(str(conf.get("speech_objective", "ce")), ()):
        found[part] = factors["lambda_speech"] * float(inner.get(part, 1.0))
    return found


def only_logged(experiment: Experiment, part: str) -> bool:
    """A speech loss that this objective does not have: computed for comparison, not learnt from."""
    known = weights(experiment)
    return bool(known) and part in ("ce_speech", "ce_smoothed", "kl") and part not in known
