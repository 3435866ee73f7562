"""Options of CTC training, beside ESPnet's: names and defaults."""

import argparse
from collections.abc import Callable, Sequence

from espnet_sld.errors import InputError
from espnet_sld.tasks.options import add_unit_arguments, none_or_str


def add_ctc_arguments(
    parser: argparse.ArgumentParser, nested: type[argparse.Action], boolean: Callable[[str], bool]
) -> None:
    """Add them; `nested` and `boolean` are ESPnet's `NestedDictAction` and `str2bool`."""
    group = parser.add_argument_group("Input")
    group.add_argument(
        "--input", default="units", help="units: unit text; fbank: wav.scp of a data directory"
    )
    add_unit_arguments(group)
    group.add_argument(
        "--unit_subsampling",
        type=int,
        default=1,
        help="1, 2 or 4: embedded units become so many times fewer; CTC needs a frame for every target",
    )
    group.add_argument(
        "--frontend_conf", action=nested, default={}, help="ESPnet's DefaultFrontend: fs=16000 n_mels=80 …"
    )
    group.add_argument("--specaug", default="none", help="none or specaug (ESPnet's), on either input")
    group.add_argument("--specaug_conf", action=nested, default={}, help="Its options")
    group.add_argument(
        "--normalize",
        default="utterance_mvn",
        help="fbank: utterance_mvn (ESPnet's), global_mvn (statistics of the training set) or none",
    )
    group.add_argument("--normalize_conf", action=nested, default={}, help="Options of utterance_mvn")
    group = parser.add_argument_group("Targets")
    group.add_argument("--token_type", default="char", help="char, word, bpe or hf")
    group.add_argument("--token_list", type=none_or_str, default=None, help="tokens.txt")
    group.add_argument(
        "--bpemodel", type=none_or_str, default=None, help="bpe: bpe.model; hf: the tokenizer's directory"
    )
    group.add_argument(
        "--infeasible",
        default="keep",
        help="Utterances with fewer frames than CTC needs: keep (CTC leaves them out) or refuse",
    )
    group = parser.add_argument_group("Model")
    group.add_argument("--encoder", default="conformer", help="transformer, conformer or e_branchformer")
    group.add_argument("--encoder_conf", action=nested, default={}, help="ESPnet's options of it")
    group.add_argument(
        "--interctc_layers",
        default=None,
        help='1-based intermediate layers, e.g. "3 6 9", or none; default: every third block',
    )
    group.add_argument(
        "--self_conditioning", type=boolean, default=False, help="Feed intermediate posteriors back"
    )
    group.add_argument("--ctc_dropout", type=float, default=0.0, help="Before the CTC head")
    group.add_argument("--shared_decoder", type=boolean, default=False, help="One decoder for all layers")
    group.add_argument(
        "--decoder_conf",
        action=nested,
        default={},
        help="num_blocks=2 attention_heads=4 linear_units=1024 dropout_rate=0.1",
    )
    group = parser.add_argument_group("Objective")
    group.add_argument(
        "--criterion_conf", action=nested, default={}, help="row=interaed_kd, and weights that override it"
    )
    group.add_argument(
        "--soft_labels", type=none_or_str, default=None, help="Of the training set (bin.soft_labels)"
    )


def layers_of(given: str | int | Sequence[int] | None) -> list[int] | None:
    """`"3 6 9"`, `"3,6"` or a YAML list → sorted layers; "none" and "" → []; None (not given) → None.

    Raises:
        InputError: not whole numbers from 1.
    """
    if given is None:
        return None
    words = given.replace(",", " ").split() if isinstance(given, str) else given
    words = [words] if isinstance(words, int) else list(words)
    if words == ["none"]:
        return []
    try:
        layers = sorted({int(word) for word in words})
    except (TypeError, ValueError):
        layers = [0]
    if layers and layers[0] < 1:
        raise InputError(f'--interctc_layers {given}: must be layer numbers from 1, e.g. "3 6 9", or none')
    return layers
