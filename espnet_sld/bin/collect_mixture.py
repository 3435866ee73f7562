"""Measure the sequences of a mixture: shape files and length statistics of every data set (stage 6)."""

import logging
from argparse import ArgumentParser

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.tasks.mixture_stats import collect_mixture
from espnet_sld.tasks.options import add_sequence_arguments
from espnet_sld.tasks.preprocess import SequencePreprocessor

MIXTURE = r"""
A mixture is a YAML file:
  train:
    - name: asr                    # unique; a directory's name
      task: asr                    # asr tts st mt caption, unlabelled speech_lm text_lm image_lm, or asr_sld
      speech: dump/raw/train/text.rm.mfcc_km100     # the files of the task's fields: asr, tts: speech, text;
      text: dump/raw/train/text.ts.en               #   st: speech, target_text; mt: text, target_text;
      weight: 2                    #   caption: image, text. How often a pass has each utterance (1)
      portion: 0.1                 # share of the recordings, or [0.1, 1.0]; drawn by portion_seed (0). Copies
                                   #   at other speeds go with them; portion_group: '^(digit-\d+)' puts ids
                                   #   together that have its first group in common (shifted images, captions)
      only: '-\d+-\d+$'            # of these, utterances whose id contains this regular expression (all)
    - name: st_fr
      task: st
      language: fr                 # its own token, <generatetranslation_fr>; or generate_token: <x>
      speech: dump/raw/train/text.rm.mfcc_km100
      target_text: dump/raw/train/text.ts.fr
    - name: raw
      unlabelled: true             # each file is a data set of its own: raw_speech, raw_text
      speech: dump/raw/extra/text.rm.mfcc_km100
      text: dump/raw/extra/text.ts.en
  valid:                           # likewise; weights do not count
    - {name: asr, task: asr, speech: dump/raw/dev/text.rm.mfcc_km100, text: dump/raw/dev/text.ts.en}
  specials: []                     # tokens to keep room for, of tasks that come later
"""


def get_parser() -> ArgumentParser:
    parser = cli.get_parser(
        "Write <role>/<set>/sequence_shape (`utt N`) and length_stats.json for every data set of --mixture.\n"
        + MIXTURE,
        "python -m espnet_sld.bin.collect_mixture --mixture data/mixture.yaml --out_dir exp/dmlm_stats \\\n"
        "    --num_clusters 200 --text_token_type word --text_token_path data/token_list/word_en \\\n"
        "    --num_image_tokens 64 --max_positions 512 --max_text 40",
    )
    parser.add_argument("--out_dir", required=True, help="output directory")
    add_sequence_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure a mixture."""
    args = get_parser().parse_args(argv)
    if not args.mixture:
        raise InputError("missing option: --mixture")
    reports = collect_mixture(args.mixture, SequencePreprocessor.from_args(args), args.out_dir)
    for name, report in reports.items():
        logging.info(
            "%s (%s): %d utterances (%d left out), length mean %.1f max %d; cut: %d conditions, %d targets",
            name,
            report["task"],
            report["utterances"],
            report["utterances_left_out"],
            report["sequence"]["mean"],
            report["sequence"]["max"],
            report["cut_utterances"],
            report["cut_targets"],
        )
    return 0


if __name__ == "__main__":
    cli.run(main)
