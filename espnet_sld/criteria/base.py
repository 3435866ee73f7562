"""What every criterion is: parts with sums and the names of their counts, weights, and a registry."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from espnet_sld.errors import InputError


class Part(NamedTuple):
    """One loss part (or logged figure) of a micro-batch: a scalar sum, and the count that divides it."""

    sum: Tensor
    count_name: str


class Criterion(nn.Module):
    """Base of all losses over a batch of joint token sequences.

    A subclass sets `count_names`, `weights` (part → coefficient; parts absent from it are only logged)
    and writes `counts` and `forward`. The loss of an optimiser step is Σ weight · (sum over the whole
    step) / (count over the whole step); because parts are sums, micro-batches and processes just add.
    """

    count_names: tuple[str, ...] = ()
    weights: dict[str, float]

    def counts(self, tokens: Any, kinds: Any) -> dict[str, int]:
        """Denominators that a batch adds; needs no model.

        Args:
            tokens: joint ids, (B, L) or (L,), torch or numpy.
            kinds: modality codes of the tokens as targets, same shape, 0 at pads.
        """
        raise NotImplementedError

    def forward(
        self, hidden: Tensor, output_matrix: Tensor, tokens: Tensor, kinds: Tensor
    ) -> dict[str, Part]:
        """Parts of a micro-batch.

        Args:
            hidden: last hidden states, (B, L, D).
            output_matrix: output embedding, (V, D).
            tokens: joint ids as *targets* (unmasked), (B, L) int64.
            kinds: (B, L) uint8, 0 where the token is never a target.
        """
        raise NotImplementedError

    def total(self, parts: Mapping[str, Part], counts: Mapping[str, float | Tensor]) -> Tensor:
        """Σ weight · sum / count over the weighted parts; a count of 0 (nothing to divide) gives 0."""
        loss: Tensor | None = None
        for name, weight in self.weights.items():
            part = parts[name]
            count = counts[part.count_name]
            if isinstance(count, Tensor):
                count = count.to(part.sum).clamp(min=1)
            else:
                count = max(float(count), 1.0)
            term = part.sum * (weight / count)
            loss = term if loss is None else loss + term
        assert loss is not None, "a criterion weighs at least one part"
        return loss


# name → "module:Class". A new loss is one file and one line here, or its import path in the config.
CRITERIA: dict[str, str] = {
    "speech_text": "espnet_sld.criteria.speech_text:SpeechTextCriterion",
    "modality": "espnet_sld.criteria.modality:ModalityCriterion",
}


def criterion_class(name: str) -> type[Criterion]:
    """The class behind a registered name or an import path `my_module:MyClass`."""
    path = CRITERIA.get(name, name)
    module_name, separator, class_name = path.partition(":")
    if not separator:
        known = ", ".join(CRITERIA)
        raise InputError(f"criterion '{name}' is unknown; use one of: {known}, or 'my_module:MyClass'")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"criterion '{name}' cannot be imported ({error}); put it on PYTHONPATH") from error
    if not (isinstance(found, type) and issubclass(found, Criterion)):
        raise InputError(f"criterion '{name}' is not a subclass of espnet_sld.criteria.Criterion")
    return found


def build_criterion(name: str, conf: Mapping[str, Any] | None = None, **context: Any) -> Criterion:
    """Build a criterion from the config.

    Args:
        name: registered name or `my_module:MyClass`.
        conf: the user's options (`criterion_conf`); unknown keys are errors.
        **context: what the task knows (text_vocabulary, speech_vocabulary, max_positions, …); a criterion
            gets those that its constructor names. A context value that is None is not passed.

    Raises:
        InputError: unknown name, unknown or doubly given option, or a value that the class refuses.
    """
    cls, conf = criterion_class(name), dict(conf or {})
    parameters = inspect.signature(cls).parameters.values()
    accepted = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    options = [key for key in accepted if key not in context]
    unknown = sorted(set(conf) - set(options))
    if unknown:
        raise InputError(
            f"criterion_conf of '{name}': unknown option {', '.join(unknown)}; "
            f"known: {', '.join(sorted(options))}"
        )
    given = {key: value for key, value in context.items() if key in accepted and value is not None}
    try:
        return cls(**given, **conf)
    except (TypeError, ValueError) as error:
        raise InputError(f"criterion_conf of '{name}': {error}") from error


def as_tensor(values: Any) -> Tensor:
    """Torch tensor (B, L) of a torch or numpy array with one or two axes."""
    tensor = torch.as_tensor(values)
    return tensor if tensor.dim() == 2 else tensor.reshape(1, -1)
