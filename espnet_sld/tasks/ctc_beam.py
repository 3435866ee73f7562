"""ESPnet's CTC prefix beam search with an external LM: the yardstick of greedy decoding."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

# isort: off
from espnet_sld.tasks.torchaudio_placeholder import quiet_espnet

quiet_espnet()
# isort: on

from espnet.nets.batch_beam_search import BatchBeamSearch  # noqa: E402
from espnet.nets.scorers.ctc import CTCPrefixScorer  # noqa: E402
from espnet.nets.scorers.length_bonus import LengthBonus  # noqa: E402
from espnet2.lm.seq_rnn_lm import SequentialRNNLM  # noqa: E402
from espnet2.lm.transformer_lm import TransformerLM  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from espnet_sld.errors import InputError  # noqa: E402
from espnet_sld.models.ctc import CtcRecogniser  # noqa: E402

logger = logging.getLogger(__name__)
# A line and more for every utterance and step, which would count as time.
for name in ("espnet.nets.beam_search", "espnet.nets.batch_beam_search"):
    logging.getLogger(name).setLevel(logging.WARNING)

LMS = {"transformer": TransformerLM, "seq_rnn": SequentialRNNLM}


class _Posteriors(nn.Module):
    """A CTC head as ESPnet's scorer calls it."""

    def __init__(self, head: nn.Linear):
        super().__init__()
        self.head = head

    def log_softmax(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (B, T, V) of hidden states (B, T, D)."""
        return self.head(hidden).float().log_softmax(-1)


class CtcBeam:
    """Beam search over one utterance at a time.

    Args:
        model: in eval mode. beam: ESPnet's search. maxlenratio, minlenratio: ESPnet's.
        lm_parameters: of the external LM, for reports.
    """

    def __init__(
        self,
        model: CtcRecogniser,
        beam: BatchBeamSearch,
        *,
        maxlenratio: float = 0.0,
        minlenratio: float = 0.0,
        lm_parameters: int = 0,
    ):
        self.model, self.beam, self.lm_parameters = model, beam, lm_parameters
        self.ratios = {"maxlenratio": maxlenratio, "minlenratio": minlenratio}
        self.device = next(model.parameters()).device

    @classmethod
    def build(
        cls,
        model: CtcRecogniser,
        tokens: Sequence[str],
        options: Mapping[str, Any],
        lm_checkpoint: Path | None = None,
        device: str = "cpu",
    ) -> "CtcBeam":
        """Scorers as in ESPnet's asr_inference with ctc_weight 1: CTC, LM, length bonus.

        Args:
            tokens: the recogniser's token list.
            options: beam_size, lm_weight, length_bonus, maxlenratio, minlenratio.
            lm_checkpoint: of an `espnet2.bin.lm_train` experiment; None = no LM.
        """
        eos, scorers = len(tokens) - 1, {}
        scorers["ctc"] = CTCPrefixScorer(ctc=_Posteriors(model.head), eos=eos)
        scorers["length_bonus"] = LengthBonus(len(tokens))
        weights = {"ctc": 1.0, "length_bonus": options["length_bonus"]}
        count = 0
        if lm_checkpoint is not None:
            scorers["lm"] = load_lm(lm_checkpoint, tokens).to(device)
            weights["lm"] = options["lm_weight"]
            count = sum(p.numel() for p in scorers["lm"].parameters())
        # ESPnet's search begins with one hypothesis and its V continuations, of which the blank has log 0: a
        # beam that takes it in loses that log 0 to rounding, and ends with blanks in its hypotheses.
        size = min(options["beam_size"], len(tokens) - 1)
        if size < options["beam_size"]:
            logger.warning(
                "beam_size %d is too wide for %d tokens: %d", options["beam_size"], len(tokens), size
            )
        # no pre-beam: ESPnet leaves it out where no attention decoder takes part
        beam = BatchBeamSearch(
            scorers=scorers,
            weights=weights,
            beam_size=size,
            vocab_size=len(tokens),
            sos=eos,
            eos=eos,
            token_list=list(tokens),
            pre_beam_score_key=None,
        )
        ratios = {name: options[name] for name in ("maxlenratio", "minlenratio")}
        return cls(model, beam.to(device).eval(), **ratios, lm_parameters=count)

    @torch.no_grad()
    def __call__(self, row: np.ndarray) -> tuple[list[int] | None, float]:
        """Target ids and score of unit tokens (T,) or samples (S,); None where there is not one frame."""
        x = torch.from_numpy(row)[None].to(self.device)
        lengths = torch.tensor([len(row)], device=self.device)
        if not len(row) or int(self.model.encoder.output_lengths(lengths)) < 1:
            return None, 0.0
        encoded = self.model.encode(x, lengths)
        found = self.beam(x=encoded.final[0], **self.ratios)
        if not found:
            return [], 0.0
        best = found[0]
        return [token for token in best.yseq[1:-1].tolist() if token != 0], float(best.score)


def load_lm(checkpoint: Path, tokens: Sequence[str]) -> nn.Module:
    """An LM of `espnet2.bin.lm_train`, in eval mode.

    Raises:
        InputError: a file is missing or damaged, or it has another token list.
    """
    config = checkpoint.with_name("config.yaml")
    try:
        conf = yaml.safe_load(config.read_text(encoding="utf-8"))
        kind, lm_conf, own = conf["lm"], conf["lm_conf"] or {}, list(conf["token_list"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{config}: not the configuration of a language model ({error!r})") from None
    if own != list(tokens):
        raise InputError(
            f"{config}: the language model has another token list ({len(own)} tokens, the recogniser "
            f"{len(tokens)}); train it on the recogniser's"
        )
    if kind not in LMS:
        raise InputError(f"{config}: a language model of type {kind}; known: {', '.join(LMS)}")
    model = LMS[kind](vocab_size=len(own), **lm_conf)
    try:
        values = torch.load(checkpoint, map_location="cpu", weights_only=True)
        values = values.get("model", values)
        model.load_state_dict({name.removeprefix("lm."): value for name, value in values.items()})
    except Exception as error:  # unpickling, missing keys, shapes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{checkpoint}: damaged, or not of {config} ({reason})") from None
    return model.eval()
