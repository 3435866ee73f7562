"""Attention from text to speech tokens of some utterances, for report.html."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/attention.json: what the model looks at when it predicts the tokens of its own\n"
        "hypotheses. bin.report then shows it. Half of the utterances are those with most errors, half are\n"
        "right, unless --utterances names some.",
        "python -m espnet_sld.bin.attention --exp_dir exp/asr_sld_x --decoding decode_greedy/test \\\n"
        "    --speech_text dump/raw/test/text.rm.mfcc_km200",
    )
    parser.add_argument("--exp_dir", type=Path, required=True, help="experiment, with config.yaml")
    parser.add_argument("--checkpoint", default="valid.ce_text.ave.pth", help="file in it")
    parser.add_argument("--decoding", required=True, help="<decode_tag>/<set>, scored")
    parser.add_argument("--speech_text", type=Path, required=True, help="unit text of the set")
    parser.add_argument("--utterances", nargs="+", default=[], help="ids")
    parser.add_argument("--number", type=int, default=8, help="of utterances, without --utterances")
    parser.add_argument(
        "--max_tokens", type=int, default=800, help="longer sequences are left out, and named"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    import logging

    from espnet_sld.errors import InputError
    from espnet_sld.files import read_table, write_json
    from espnet_sld.scoring.report.attention_data import NAME, packed
    from espnet_sld.scoring.report.experiment import read_scored_set

    folder = args.exp_dir / args.decoding
    scored = read_scored_set(folder)
    units = read_table(args.speech_text)
    chosen = args.utterances or choose(scored.utterances, scored.errors.tolist(), args.number)
    texts = dict(zip(scored.utterances, scored.hypotheses, strict=True))
    if unknown := [name for name in chosen if name not in texts or name not in units]:
        raise InputError(f"--utterances {unknown[0]}: not in {folder} and {args.speech_text}")

    from espnet_sld.inference.attention import attend
    from espnet_sld.inference.checkpoint import load_checkpoint

    trained = load_checkpoint(args.exp_dir / args.checkpoint, args.exp_dir / "config.yaml")
    shown = []
    for name in chosen:
        if len(units[name]) + len(texts[name].split()) > args.max_tokens:
            logging.warning("left out: %s is longer than --max_tokens %d", name, args.max_tokens)
            continue
        found = attend(trained, units[name], texts[name])
        shown.append(packed(name, found.text, found.speech, found.mean, found.largest, found.on_speech))
    if not shown:
        raise InputError("every utterance is longer than --max_tokens; raise it")
    made = {"checkpoint": args.checkpoint, "decoding": args.decoding, "utterances": shown}
    write_json(args.exp_dir / NAME, made, indent=None, ensure_ascii=False)
    print(f"{args.exp_dir / NAME}: {len(shown)} utterances of {args.decoding}")
    return 0


def choose(utterances: list[str], errors: list[int], number: int) -> list[str]:
    """Half with most errors, half without any (in the order of their ids), as far as there are."""
    order = sorted(range(len(utterances)), key=lambda place: (-errors[place], utterances[place]))
    worst = [place for place in order if errors[place]][: (number + 1) // 2]
    right = [place for place in order if not errors[place]][: number - len(worst)]
    return [utterances[place] for place in (*worst, *right)]


if __name__ == "__main__":
    cli.run(main)
