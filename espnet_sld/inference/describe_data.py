"""Data in words: data directories, token files, token lists, k-means, image quantisers. No torch."""

import re
from collections import Counter
from pathlib import Path

from espnet_sld.corpus.checks import scan_data_dir
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.corpus.statistics import describe as describe_set
from espnet_sld.errors import InputError
from espnet_sld.inference.description import (
    Description,
    Kind,
    first_line,
    number,
    pairs,
    read_json,
    size,
    text_lines,
)
from espnet_sld.units.unit_text import FIRST, MAX_UNITS

UNIT_TEXT = re.compile(r"text\.(ts|rm)\.(.+)_km(\d+)$")
LABELS = re.compile(r"pseudo_labels_km(\d+)\.txt$")
CASES = {"ts": "one unit a frame", "rm": "equal neighbours removed"}


# -- data directories -------------------------------------------------------------------------------
def _is_data_dir(path: Path) -> bool:
    return all((path / name).is_file() for name in ("wav.scp", "utt2spk"))


def _data_dir(path: Path) -> Description:
    scan = scan_data_dir(path, text=False, allow_pipes=True, check_files=False)
    data = DataDir.from_scan(scan)
    counts = describe_set(data)
    facts = [
        ("utterances", number(len(data))),
        ("recordings", f"{number(len(data.wav))}{'' if data.segments is None else ', cut by segments'}"),
        ("speakers", number(counts["speakers"])),
    ]
    if data.utt2dur:
        facts.append(("audio", f"{counts['hours']:.2f} h, {counts['mean_seconds']:.2f} s an utterance"))
    if data.text:
        facts.append(("words", f"{number(counts['words'])}, {number(counts['vocabulary'])} different"))
    else:
        facts.append(("words", "no transcripts (no file text)"))
    if data.utt2speed:
        speeds = Counter(data.utt2speed.values())
        facts.append(("speeds", ", ".join(f"{speed:g} × {number(n)}" for speed, n in sorted(speeds.items()))))
    if scan.problems:
        facts.append(("problems", f"{len(scan.problems)}; utils/validate_data_dir {path} lists them"))
    utterance = next(iter(data.utterances), "")
    return Description(
        "a Kaldi data directory",
        facts,
        f"{utterance} {data.text.get(utterance, '')}".strip(),
        f"utils/validate_data_dir {path}",
    )


def _is_dump_dir(path: Path) -> bool:
    return (path / "utt2spk").is_file() and any(UNIT_TEXT.match(file.name) for file in path.glob("text.*"))


def _dump_dir(path: Path) -> Description:
    files = sorted(file for file in path.glob("text.*") if file.is_file())
    rows = [(file.name, f"{number(sum(1 for _ in text_lines(file)))} lines") for file in files]
    units = next(file for file in files if UNIT_TEXT.match(file.name))
    return Description("tokens of one set, as ESPnet's asr2 keeps them", rows, first_line(units))


# -- token files ------------------------------------------------------------------------------------
def _is_units(value: str) -> bool:
    return bool(value) and " " not in value and all(FIRST <= ord(c) < FIRST + MAX_UNITS for c in value)


def _is_unit_text(path: Path) -> bool:
    key, _, value = first_line(path).partition(" ")
    return not key.isdecimal() and _is_units(value)  # the character list begins with numbers


def _unit_text(path: Path) -> Description:
    utterances = units = longest = 0
    seen: set[str] = set()
    for count, line in enumerate(text_lines(path), 1):
        _, _, value = line.partition(" ")
        if not _is_units(value):
            raise InputError(
                f"{path}:{count}: not 'utterance characters', one for each unit; run stage 4 again"
            )
        seen |= set(value)
        utterances, units, longest = count, units + len(value), max(longest, len(value))
    facts = [
        ("utterances", number(utterances)),
        ("units", f"{number(units)}, {units / utterances:.1f} an utterance, longest {number(longest)}"),
        ("different", f"{number(len(seen))} units, the highest is {max(map(ord, seen)) - FIRST}"),
    ]
    if name := UNIT_TEXT.match(path.name):
        facts.append(("by its name", f"{name[3]} clusters of {name[2]}; {name[1]}: {CASES[name[1]]}"))
    line = first_line(path)
    ids = " ".join(str(ord(c) - FIRST) for c in line.partition(" ")[2][:12])
    facts.append(("first units", f"{ids} …"))
    return Description("unit text, a CJK character for each unit", facts, line)


def _is_ids(path: Path) -> bool:
    fields = first_line(path).split()
    return len(fields) > 1 and all(f.isdecimal() for f in fields[1:]) and not path.name.startswith("tokens")


def _ids(path: Path) -> Description:
    utterances = tokens = longest = 0
    seen: set[int] = set()
    for count, line in enumerate(text_lines(path), 1):
        try:
            ids = list(map(int, line.split()[1:]))
        except ValueError:
            raise InputError(f"{path}:{count}: not 'id number …'; run the stage that wrote it") from None
        seen.update(ids)
        utterances, tokens, longest = count, tokens + len(ids), max(longest, len(ids))
    facts = [
        ("lines", number(utterances)),
        ("ids", f"{number(tokens)}, {tokens / utterances:.1f} a line, longest {number(longest)}"),
        ("different", f"{number(len(seen))}, from {min(seen, default=0)} to {max(seen, default=0)}"),
    ]
    if name := LABELS.match(path.name):
        unused = int(name[1]) - len(seen)
        facts.append(("by its name", f"K = {name[1]} clusters; {number(unused)} of them do not occur here"))
        return Description("units, a cluster id for each frame", facts, first_line(path))
    return Description("token ids, such as an image quantiser's", facts, first_line(path))


def _is_characters(path: Path) -> bool:
    return path.name == "distinct_cjk_token_lists" and path.is_file()


def _characters(path: Path) -> Description:
    lines = sum(1 for _ in text_lines(path))
    whole = "whole" if lines == MAX_UNITS else f"short: it should have {number(MAX_UNITS)}; run stage 3 again"
    return Description(
        "asr2's list of the units' characters",
        [("lines", f"{number(lines)}, {whole}")],
        first_line(path),
    )


def _is_transcript(path: Path) -> bool:
    named = path.name in ("text", "lm_train.txt") or path.name.startswith("text.")
    return named and len(first_line(path).split()) > 1


def _transcript(path: Path) -> Description:
    lines, words = 0, Counter()
    for line in text_lines(path):
        lines += 1
        words.update(line.split()[1:])
    facts = [
        ("utterances", number(lines)),
        ("words", f"{number(words.total())}, {number(len(words))} different"),
        ("frequent", " ".join(word for word, _ in words.most_common(8))),
    ]
    return Description("transcripts, `utterance words`", facts, first_line(path))


# -- what was fitted ----------------------------------------------------------------------------------
def _is_token_list(path: Path) -> bool:
    return (path / "tokens.txt").is_file() or (path.name == "tokens.txt" and path.is_file())


def _token_list(path: Path) -> Description:
    file = path / "tokens.txt" if path.is_dir() else path
    tokens = list(text_lines(file))
    facts = [("tokens", f"{number(len(tokens))}, first {' '.join(tokens[:5])}, last {tokens[-1]}")]
    folder, record = file.parent, file.parent / "subword.json"
    if record.is_file():
        made = read_json(record)
        facts.append(("made of", f"{number(made['lines'])} lines of {made['kind']}: {made['model_type']}"))
        asked, got = made["vocab_size"], made["size"]
        if asked and got != asked:
            facts.append(("size", f"{number(got)}; {number(asked)} asked for, too many for the corpus"))
    example = first_line(folder / "train.txt")
    if (folder / "bpe.model").is_file():
        facts.append(("bpe.model", size((folder / "bpe.model").stat().st_size)))
        if example:
            from espnet_sld.tokens.subword import SentencePieceTokenizer

            model = SentencePieceTokenizer(folder / "bpe.model").model
            facts.append(("first line", example[:40]))
            example = " ".join(model.encode(example, out_type=str))
        return Description("a SentencePiece model with its token list", facts, example)
    return Description("a token list", facts, example)


def _is_kmeans(path: Path) -> bool:
    return path.is_dir() and any(path.glob("km_*.safetensors"))


def _kmeans(path: Path) -> Description:
    from espnet_sld.units.kmeans import KMeans

    facts, example = [], ""
    for weights in sorted(path.glob("km_*.safetensors")):
        kmeans = KMeans.load(path, int(weights.stem.removeprefix("km_")))
        info = kmeans.info
        facts.append(("centroids", f"{number(kmeans.num_clusters)} in {kmeans.dimension} dimensions"))
        conf = dict(info.get("frontend") or {})
        facts.append(("front-end", f"{conf.pop('name', 'unknown')} {pairs(conf)}"))
        if "frames" in info:
            seen = f" of {number(info['frames_seen'])}" if "frames_seen" in info else ""
            facts.append(("fitted on", f"{number(info['frames'])} frames{seen} in {info.get('data_dir')}"))
        if info.get("inertia"):
            curve = info["inertia"]
            facts.append(("inertia", f"{curve[0]:.4g} → {curve[-1]:.4g} in {len(curve)} passes"))
        facts.append(("dead clusters", str(info.get("dead_clusters", "unknown"))))
        values = " ".join(f"{value:.2f}" for value in kmeans.centroids[0][:8])
        example = f"centroid 0: {values}{' …' if kmeans.dimension > 8 else ''}"
    return Description("k-means centroids of a front-end's frames", facts, example)


def _is_quantiser(path: Path) -> bool:
    return (path / "quantiser.json").is_file()


def _quantiser(path: Path) -> Description:
    record = read_json(path / "quantiser.json")
    facts = [("kind", str(record.get("kind")))]
    shape, grid = record.get("image_shape"), record.get("grid")
    if shape:
        facts.append(("images", " × ".join(map(str, shape))))
    if grid:
        facts.append(("tokens", f"{grid[0] * grid[1]} an image ({grid[0]} × {grid[1]})"))
    if "codebook_size" in record:
        facts.append(
            ("codebook", f"{number(record['codebook_size'])}, {record.get('dead_clusters', 0)} dead")
        )
    if "images" in record:
        facts.append(("fitted on", f"{number(record['images'])} images"))
    files = ", ".join(sorted(file.name for file in path.iterdir() if file.is_file()))
    return Description(
        "an image quantiser", [*facts, ("files", files)], "", "bin.quantise_images --quantiser …"
    )


DATA_KINDS = (
    Kind("data directory", _is_data_dir, _data_dir),
    Kind("dump directory", _is_dump_dir, _dump_dir),
    Kind("character list", _is_characters, _characters),
    Kind("unit text", _is_unit_text, _unit_text),
    Kind("units or image tokens", _is_ids, _ids),
    Kind("token list or subword model", _is_token_list, _token_list),
    Kind("transcripts", _is_transcript, _transcript),
    Kind("k-means", _is_kmeans, _kmeans),
    Kind("image quantiser", _is_quantiser, _quantiser),
)
