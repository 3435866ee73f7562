"""Optimiser over a model's parameters: weight decay where it belongs, one fused kernel where there is one."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from espnet_sld.errors import InputError


def check_conf(name: str, cls: type, conf: Mapping[str, Any]) -> None:
    """Refuse options that the constructor of `cls`, after its first argument, does not have.

    Raises:
        InputError: names `name` (e.g. `scheduler_conf`), the options and the known ones.
    """
    known = list(inspect.signature(cls).parameters)[1:]
    unknown = sorted(set(conf) - set(known))
    if unknown:
        raise InputError(f"{name}: unknown option {', '.join(unknown)}; known: {', '.join(known)}")


def build_optimizer(
    optimizer_class: type[Optimizer],
    model: nn.Module,
    conf: Mapping[str, Any],
    exclude_weight_decay: bool = False,
) -> Optimizer:
    """An optimiser of the trainable parameters.

    Args:
        optimizer_class, conf: e.g. `torch.optim.AdamW` and its options.
        exclude_weight_decay: no decay for norms, biases (fewer than two axes) and embeddings, a tied output
            matrix included.

    Raises:
        InputError: an option that the class does not have.
    """
    check_conf("optim_conf", optimizer_class, conf)
    conf = dict(conf)
    if (
        optimizer_class in (Adam, AdamW)
        and not {"fused", "foreach", "capturable", "differentiable"} & conf.keys()
    ):
        conf["fused"] = True
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not exclude_weight_decay:
        return optimizer_class(trainable, **conf)
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    free = [parameter for parameter in trainable if parameter.ndim < 2 or id(parameter) in embeddings]
    chosen = {id(parameter) for parameter in free}
    decayed = [parameter for parameter in trainable if id(parameter) not in chosen]
    groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return optimizer_class([group for group in groups if group["params"]], **conf)
