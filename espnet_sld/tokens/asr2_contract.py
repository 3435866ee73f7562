"""Does a dump directory keep ESPnet asr2's contract? Then its later stages can read it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import BLANK, SOS_EOS, SPACE, UNKNOWN, SentencePieceTokenizer
from espnet_sld.tokens.texts import read_texts
from espnet_sld.units.unit_text import FIRST, MAX_UNITS, deduplicate, ids_to_text, text_to_ids

SHOWN = 3


@dataclass
class Findings:
    """What was looked at, in words, and what is wrong with it."""

    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, right: bool, problem: str) -> bool:
        """Note `problem` unless `right`; returns `right`."""
        if not right:
            self.problems.append(problem)
        return right

    def expect_none(self, wrong: list[str], problem: str) -> None:
        """Note `problem` with the first of the utterances that it holds for."""
        if wrong:
            shown = " ".join(wrong[:SHOWN]) + " …" * (len(wrong) > SHOWN)
            self.problems.append(f"{problem}: {len(wrong)} utterances ({shown})")


def check_contract(dump_dir: Path, token_dir: Path, kmeans_dir: Path, lang: str = "en") -> Findings:
    """Check `<dump_dir>/raw/*`, `<dump_dir>/extracted`, every list in `token_dir` and the character list.

    Raises:
        InputError: no unit text anywhere below `dump_dir/raw`.
    """
    findings = Findings()
    texts = sorted((dump_dir / "raw").glob("*/text.ts.*_km*"))
    if not texts:
        raise InputError(f"{dump_dir}/raw: no <set>/text.ts.<frontend>_km<K>; run stages 1-4 first")
    _check_characters(kmeans_dir / "distinct_cjk_token_lists", findings)
    for path in texts:
        _check_set(path, dump_dir, lang, findings)
    for path in sorted(token_dir.glob("*/tokens.txt")):
        _check_tokens(path, findings)
    return findings


def _check_characters(path: Path, findings: Findings) -> None:
    """All 20 902 lines: asr2 deletes, silently, a unit that the list lacks."""
    if not findings.expect(path.is_file(), f"{path}: missing; stage 3 writes it"):
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    right = lines == [f"{unit} {chr(FIRST + unit)}" for unit in range(MAX_UNITS)]
    findings.expect(right, f"{path}: not the {MAX_UNITS} lines `<id> <character>`; delete it and run stage 3")
    findings.checked.append(f"{path}: {len(lines)} characters")


def _check_set(path: Path, dump_dir: Path, lang: str, findings: Findings) -> None:
    """One set's unit texts, transcripts and label file belong together, in one order."""
    suffix = path.name.removeprefix("text.ts.")
    clusters = int(suffix.rpartition("_km")[2])
    folder = path.parent
    units = _read(path, findings)
    joined = _read(folder / f"text.rm.{suffix}", findings)
    order = list(units)
    findings.expect(order == sorted(order, key=str.encode), f"{path}: not sorted in C order")
    findings.expect(list(joined) == order, f"{folder}/text.rm.{suffix}: other utterances than {path.name}")
    wrong_units, wrong_joined = [], []
    for utterance, text in units.items():
        try:
            ids = text_to_ids(text, clusters)
        except InputError:
            wrong_units.append(utterance)
            continue
        if joined.get(utterance) != ids_to_text(deduplicate(ids)[0]):
            wrong_joined.append(utterance)
    findings.expect_none(wrong_units, f"{path}: characters that are no unit of {clusters} clusters")
    findings.expect_none(wrong_joined, f"{folder}/text.rm.{suffix}: not {path.name} without repetitions")
    for name in (f"text.ts.{lang}", "utt2spk"):
        found = _read(folder / name, findings)
        findings.expect(
            list(found) == order, f"{folder}/{name}: other utterances, or order, than {path.name}"
        )
    feats_type = folder / "feats_type"
    findings.expect(
        feats_type.is_file() and feats_type.read_text().strip() == "raw", f"{feats_type}: must say raw"
    )
    labels = list(_label_files(dump_dir, suffix, folder.name))
    if findings.expect(
        bool(labels), f"{dump_dir}/extracted: no pseudo_labels_km{clusters}.txt of {folder.name}"
    ):
        wrong = [
            utterance
            for utterance, text in read_texts([labels[0]])
            if utterance not in units or ids_to_text(map(int, text.split())) != units[utterance]
        ]
        findings.expect_none(wrong, f"{labels[0]}: not the units of {path}")
    findings.checked.append(f"{path}: {len(units)} utterances, {sum(map(len, units.values()))} units")


def _label_files(dump_dir: Path, suffix: str, name: str) -> Iterator[Path]:
    """`extracted/<frontend>[/layer<L>]/<set>/pseudo_labels_km<K>.txt` for the suffix in a text's name."""
    feature, _, clusters = suffix.rpartition("_km")
    front_end, _, layer = feature.rpartition("_")
    for folder in (Path(feature), Path(front_end) / f"layer{layer}"):
        path = dump_dir / "extracted" / folder / name / f"pseudo_labels_km{clusters}.txt"
        if path.is_file():
            yield path


def _check_tokens(path: Path, findings: Findings) -> None:
    """ESPnet's frame around the tokens, and the pieces of the model beside it in their order."""
    tokens = path.read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    framed = tokens[:2] == [BLANK, UNKNOWN] and tokens[-1] == SOS_EOS
    findings.expect(framed, f"{path}: must begin with {BLANK} {UNKNOWN} and end with {SOS_EOS}")
    findings.expect(len(set(tokens)) == len(tokens), f"{path}: a token occurs twice")
    model = path.with_name("bpe.model")
    if model.is_file():
        processor = SentencePieceTokenizer(model).model
        pieces = [processor.id_to_piece(index) for index in range(3, processor.get_piece_size())]
        findings.expect(
            tokens[2:-1] == pieces, f"{path}: not the pieces of {model.name} after its first three"
        )
    elif path.parent.name.startswith("char_"):
        odd = [token for token in tokens[2:-1] if len(token) != 1 and token != SPACE]
        findings.expect(not odd, f"{path}: '{(odd or [''])[0]}' is not one character")
    findings.checked.append(f"{path}: {len(tokens)} tokens")


def _read(path: Path, findings: Findings) -> dict[str, str]:
    """utterance → text; a file that is missing or damaged is a problem and reads as empty."""
    try:
        rows = list(read_texts([path]))
    except InputError as error:
        findings.problems.append(str(error))
        return {}
    findings.expect(len(dict(rows)) == len(rows), f"{path}: an utterance occurs twice")
    return dict(rows)
