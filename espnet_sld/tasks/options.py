"""Options of our tasks, those of units and of the curriculum shared: names and defaults. No ESPnet here."""

import argparse


def none_or_str(value: str) -> str | None:
    """ESPnet's convention: `none`, `null` and the empty string are None."""
    return None if value.strip().lower() in {"none", "null", ""} else value


def none_or_int(value: str) -> int | None:
    """As `none_or_str`, for integers."""
    return None if none_or_str(value) is None else int(value)


def none_or_float(value: str) -> float | None:
    """As `none_or_str`, for numbers."""
    return None if none_or_str(value) is None else float(value)


def add_unit_arguments(group: argparse._ArgumentGroup) -> None:
    """How unit text becomes tokens; read by `tokens.subword.build_unit_tokenizer`."""
    group.add_argument(
        "--speech_token_type", default="unit", help="unit (no subwords), unigram or bpe over unit text"
    )
    group.add_argument(
        "--speech_token_path", type=none_or_str, default=None, help="bpe.model of the units, or its directory"
    )
    group.add_argument("--num_clusters", type=none_or_int, default=None, help="Number of k-means clusters K")


def add_curriculum_arguments(parser: argparse.ArgumentParser) -> None:
    """Training that begins with the shortest utterances; read by `StepTask.make_factory`."""
    group = parser.add_argument_group("Curriculum")
    group.add_argument(
        "--curriculum_portion",
        type=float,
        default=1.0,
        help="Share of the utterances, the shortest, to begin with",
    )
    group.add_argument(
        "--curriculum_steps",
        type=float,
        default=0,
        help="Optimiser steps with those only; below 1: share of all steps",
    )


def add_sequence_arguments(parser: argparse.ArgumentParser) -> None:
    """Tokenizers, template and limits; read by `SequencePreprocessor.from_args`."""
    group = parser.add_argument_group("Sequence")
    group.add_argument("--template", default="asr_sld", help="Sequence template")
    add_unit_arguments(group)
    group.add_argument(
        "--speech_bpe_dropout",
        type=float,
        default=0.0,
        help="Probability that a merge of unit pieces is dropped, in training only; speech_token_type bpe",
    )
    group.add_argument(
        "--speech_sampling_alpha",
        type=none_or_float,
        default=None,
        help="Draw unit pieces with probabilities to this power, in training only; speech_token_type unigram",
    )
    group.add_argument("--text_token_type", default="bpe", help="bpe, unigram, char, word or hf")
    group.add_argument(
        "--text_token_path",
        type=none_or_str,
        default=None,
        help="bpe.model, tokens.txt, or Hugging Face tokenizer: directory or name",
    )
    group.add_argument(
        "--max_positions", type=int, default=1024, help="Most tokens of a sequence; over-long speech is cut"
    )
    group.add_argument("--max_text", type=int, default=150, help="Most text tokens")
    group.add_argument(
        "--max_speech",
        type=none_or_int,
        default=None,
        help="Most speech tokens to generate; default: what a text of max_text tokens leaves",
    )
    group.add_argument(
        "--max_image", type=none_or_int, default=None, help="Most image tokens to generate; default as above"
    )
    group.add_argument(
        "--num_image_tokens", type=none_or_int, default=None, help="Codes of the image quantiser"
    )
    group.add_argument(
        "--mixture",
        type=none_or_str,
        default=None,
        help="YAML that lists data sets with their tasks and weights, instead of the data options",
    )
    group.add_argument(
        "--mixture_stats",
        type=none_or_str,
        default=None,
        help="Output of bin.collect_mixture: lengths, so that training need not encode everything first",
    )
    group.add_argument(
        "--mask_token", type=none_or_str, default=None, help="Text token that pads and masks, by name"
    )
