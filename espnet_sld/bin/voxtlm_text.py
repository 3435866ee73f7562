"""Units and transcripts as one text, the input of ESPnet's `lm_multitask` (VoxtLM)."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import write_table
from espnet_sld.tokens.texts import read_texts

TASK, SPEECH, TEXT = "asr_", "<startofspeech>", "<generatetext>"


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        f"Write `{TASK}<utt> {SPEECH}UNITS{TEXT} transcript` for training; without --text the prompts that\n"
        "espnet2.bin.lm_inference continues.",
        "python -m espnet_sld.bin.voxtlm_text --units dump/raw/train/text.rm.mfcc_km200 \\\n"
        "    --text dump/raw/train/text.ts.en --out dump/raw/train/lm_text",
    )
    parser.add_argument("--units", type=Path, required=True, help="unit text")
    parser.add_argument("--text", type=Path, help="transcripts")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    return parser


def joint_text(units: dict[str, str], transcripts: dict[str, str] | None) -> dict[str, str]:
    """Ids with the task's prefix → joint text; prompts where there are no transcripts.

    Raises:
        InputError: an utterance has no transcript, or an empty one.
    """
    lacking = [utterance for utterance in units if transcripts is not None and not transcripts.get(utterance)]
    if lacking:
        raise InputError(f"{len(lacking)} utterances have no transcript, first {lacking[0]}")
    return {
        TASK + utterance: f"{SPEECH}{text}{TEXT}" + (f" {transcripts[utterance]}" if transcripts else "")
        for utterance, text in units.items()
    }


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    transcripts = dict(read_texts([args.text])) if args.text else None
    write_table(args.out, joint_text(dict(read_texts([args.units])), transcripts))
    return 0


if __name__ == "__main__":
    cli.run(main)
