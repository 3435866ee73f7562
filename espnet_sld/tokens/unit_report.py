"""How a set's units are used, and how long its sequences become: what decides K, pieces and positions."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_json
from espnet_sld.progress import Progress
from espnet_sld.stamps import Stamp
from espnet_sld.tokens.subword import SentencePieceTokenizer, Tokenizer
from espnet_sld.tokens.templates import get_template
from espnet_sld.tokens.texts import read_texts
from espnet_sld.tokens.unit_report_md import markdown
from espnet_sld.tokens.vocabulary import Vocabulary
from espnet_sld.units.unit_text import text_to_ids

BLOCK = 2000  # utterances counted at once
BINS = 16  # of the histogram, up to max_positions
BEYOND = (1.25, 1.5, 2.0, 4.0)  # its edges after that, × max_positions
Row = tuple[str, str, str, str | None]


def unit_report(
    set_dirs: Sequence[str | Path],
    out_dir: str | Path,
    *,
    suffix: str,
    num_clusters: int,
    tokenizer: Tokenizer,
    unit_case: str = "rm",
    lang: str = "en",
    text_tokenizer: Tokenizer | None = None,
    template: str = "asr_sld",
    max_positions: int = 1024,
    extracted_dir: str | Path | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Write `report.json` and `report.md` over some sets; nothing if they are up to date.

    For each set: entropy of its units (bits) and clusters that it never uses; units a second before (`ts`)
    and after (`rm`) de-duplication, and tokens a second; the lengths of its sequences in positions, their
    histogram, and the share over `max_positions`. Sets are streamed: memory does not grow with them.

    Args:
        set_dirs: directories with `text.{ts,rm}.<suffix>`, and `utt2dur` for the rates.
        tokenizer: of units, applied to `text.<unit_case>.<suffix>`.
        text_tokenizer: of transcripts (`text.ts.<lang>`); without it, or in a set that has none, positions
            are those of units and of the template's special tokens alone.
        extracted_dir: where `gather_units` wrote `<set>/report.json`: seconds of sets without utt2dur.
        threads: of SentencePiece; the result is the same.

    Raises:
        InputError: a file is missing, or files of a set do not belong together.
    """
    out_dir, folders = Path(out_dir), [Path(folder) for folder in set_dirs]
    names = [folder.resolve().name for folder in folders]
    if not names or len(set(names)) < len(names):
        raise InputError(f"sets {' '.join(names) or '(none)'}: give one or more, with different names")
    if unit_case not in ("ts", "rm") or max_positions < 1:
        raise InputError(f"unit case '{unit_case}': must be ts or rm; max_positions {max_positions}: over 0")
    files = [_files(folder, suffix, lang if text_tokenizer else None) for folder in folders]
    durations = [_durations(folder, extracted_dir) for folder in folders]
    made = {
        "suffix": suffix,
        "num_clusters": num_clusters,
        "unit_case": unit_case,
        "template": template,
        "max_positions": max_positions,
        "tokenizer": tokenizer.describe(),
        "text_tokenizer": text_tokenizer and text_tokenizer.describe(),
    }
    outputs = [out_dir / "report.json", out_dir / "report.md"]
    stamp = Stamp(
        out_dir / "report.done.json",
        inputs=[path for group in (*files, durations) for path in group if path],
        options={**made, "sets": names},
        outputs=outputs,
    )
    if stamp.fresh():
        return json.loads(outputs[0].read_text(encoding="utf-8"))
    stamp.withdraw()
    report = {**made, "sets": {}}
    for name, paths, source in zip(names, files, durations, strict=True):
        use = UnitUse(num_clusters, tokenizer, unit_case, text_tokenizer, template, threads)
        progress = Progress(_lines(paths[0]), f"unit report, {name}")
        for block in _blocks(_rows(paths)):
            use.add(block, paths)
            progress.update(len(block))
        progress.close()
        report["sets"][name] = use.report(_seconds(source), max_positions, transcripts=paths[2] is not None)
    write_json(outputs[0], report, ensure_ascii=False)
    with atomic_write(outputs[1]) as stream:
        stream.write(markdown(report))
    stamp.write()
    return report


class UnitUse:
    """Counts over one set."""

    def __init__(
        self,
        num_clusters: int,
        tokenizer: Tokenizer,
        unit_case: str,
        text_tokenizer: Tokenizer | None,
        template: str,
        threads: int,
    ):
        self.tokenizer, self.text_tokenizer, self.threads = tokenizer, text_tokenizer, threads
        self.case = unit_case
        nothing = {"speech": np.empty(0, np.int64), "text": np.empty(0, np.int64)}
        segments = get_template(template).training(nothing, Vocabulary(text=1, speech=1))
        self.specials = sum(map(len, segments))  # positions that are neither unit nor text
        self.units = {case: np.zeros(num_clusters, np.int64) for case in ("ts", "rm")}
        self.tokens = np.zeros(tokenizer.size, np.int64)
        self.lengths = np.zeros(1, np.int64)  # [n]: utterances of n positions

    def add(self, rows: list[Row], paths: tuple[Path, Path, Path | None]) -> None:
        """Count some utterances."""
        texts = {"ts": [row[1] for row in rows], "rm": [row[2] for row in rows]}
        ids, kept = self._check(rows, texts, paths)
        self.units["ts"] += np.bincount(ids, minlength=len(self.units["ts"]))
        self.units["rm"] += np.bincount(ids[kept], minlength=len(self.units["rm"]))
        lengths = self.specials + self._count_tokens(texts[self.case])
        if self.text_tokenizer is not None and rows[0][3] is not None:
            words = [row[3] for row in rows]
            lengths = lengths + np.array(
                [len(part) for part in _encode(self.text_tokenizer, words, self.threads)]
            )
        counts = np.bincount(lengths, minlength=len(self.lengths))
        counts[: len(self.lengths)] += self.lengths
        self.lengths = counts

    def _check(self, rows: list[Row], texts: dict[str, list[str]], paths) -> tuple[np.ndarray, np.ndarray]:
        """(cluster ids of all utterances (N,), which of them de-duplication keeps (N,))."""
        clusters = len(self.units["ts"])
        try:
            ids = text_to_ids("".join(texts["ts"]), clusters)
        except InputError:
            for utterance, text, *_ in rows:  # once more, to name the utterance
                try:
                    text_to_ids(text, clusters)
                except InputError as error:
                    raise InputError(f"{paths[0]}: utterance {utterance}: {error}") from None
            raise
        sizes = np.array([len(text) for text in texts["ts"]])
        if not sizes.all():
            empty = rows[int(np.flatnonzero(sizes == 0)[0])][0]
            raise InputError(f"{paths[0]}: utterance {empty} has no units; run stage 4 again")
        starts = np.cumsum(sizes) - sizes
        kept = np.ones(len(ids), dtype=bool)
        kept[1:] = ids[1:] != ids[:-1]
        kept[starts] = True
        same = np.add.reduceat(kept, starts, dtype=np.int64) == [len(text) for text in texts["rm"]]
        if not same.all() or not np.array_equal(ids[kept], text_to_ids("".join(texts["rm"]))):
            first = rows[int(np.argmin(same))][0]
            raise InputError(
                f"{paths[1]}: not {paths[0].name} without equal neighbours (utterance {first} or after it); "
                "run stage 4 again"
            )
        return ids, kept

    def _count_tokens(self, texts: list[str]) -> np.ndarray:
        """Tokens of each utterance, int64 (U,)."""
        encoded = _encode(self.tokenizer, texts, self.threads)
        self.tokens += np.bincount(np.concatenate(encoded).astype(np.int64), minlength=len(self.tokens))
        return np.array([len(part) for part in encoded])

    def report(self, seconds: float | None, max_positions: int, *, transcripts: bool) -> dict[str, Any]:
        """Counts, rates (None where seconds are unknown), entropies in bits, lengths."""

        def stream(counts: np.ndarray) -> dict[str, Any]:
            total = int(counts.sum())
            rate = round(total / seconds, 3) if seconds else None
            return {"count": total, "per_second": rate, "entropy_bits": round(entropy_bits(counts), 4)}

        number = np.arange(len(self.lengths))
        utterances = int(self.lengths.sum())
        cumulative = np.cumsum(self.lengths)
        over = int(self.lengths[max_positions + 1 :].sum())
        unknown = self.tokenizer.unknown_id
        dead = np.flatnonzero(self.units["ts"] == 0).tolist()
        return {
            "utterances": utterances,
            "seconds": seconds and round(seconds, 3),
            "units_ts": stream(self.units["ts"]),
            "units_rm": stream(self.units["rm"]),
            "dead_clusters": dead,
            "dead_cluster_count": len(dead),
            "tokens": {
                **stream(self.tokens),
                "used": int(np.count_nonzero(self.tokens)),
                "unknown": 0 if unknown is None else int(self.tokens[unknown]),
            },
            "positions": {
                "transcripts": transcripts,
                "mean": round(float((self.lengths * number).sum()) / max(1, utterances), 3),
                "median": int(np.searchsorted(cumulative, 0.5 * utterances)),
                "p99": int(np.searchsorted(cumulative, 0.99 * utterances)),
                "max": int(number[self.lengths > 0][-1]) if utterances else 0,
                "over": over,
                "over_share": over / max(1, utterances),
                "histogram": _histogram(self.lengths, max_positions),
            },
        }


def entropy_bits(counts: np.ndarray) -> float:
    """−Σ p log₂ p of counts (K,); 0 where there is nothing."""
    share = counts[counts > 0] / max(1, counts.sum())
    return float(-(share * np.log2(share)).sum()) + 0.0


def _histogram(lengths: np.ndarray, max_positions: int) -> list[list[int | None]]:
    """[first, last, utterances] of each bin, covering every length; the last bin has no end."""
    edges = sorted({round(max_positions * index / BINS) for index in range(BINS + 1)})
    edges += [round(max_positions * factor) for factor in BEYOND]
    bins: list[list[int | None]] = [
        [low + 1, high, int(lengths[low + 1 : high + 1].sum())] for low, high in pairwise(edges)
    ]
    bins[0][2] += int(lengths[0])
    return [*bins, [edges[-1] + 1, None, int(lengths[edges[-1] + 1 :].sum())]]


def _encode(tokenizer: Tokenizer, texts: list[str], threads: int) -> list[list[int]]:
    if isinstance(tokenizer, SentencePieceTokenizer):
        return tokenizer.model.encode(texts, num_threads=threads)
    return [tokenizer.encode(text) for text in texts]


def _files(folder: Path, suffix: str, lang: str | None) -> tuple[Path, Path, Path | None]:
    """Unit text of both cases, and transcripts where there are any and they are wanted."""
    text = folder / f"text.ts.{lang}" if lang else None
    return (
        folder / f"text.ts.{suffix}",
        folder / f"text.rm.{suffix}",
        text if text and text.exists() else None,
    )


def _durations(folder: Path, extracted_dir: str | Path | None) -> Path | None:
    """The file that tells a set's seconds."""
    candidates = [folder / "utt2dur"]
    if extracted_dir:
        candidates.append(Path(extracted_dir) / folder.resolve().name / "report.json")
    return next((path for path in candidates if path.exists()), None)


def _seconds(source: Path | None) -> float | None:
    if source is None:
        return None
    if source.suffix == ".json":
        return float(json.loads(source.read_text(encoding="utf-8"))["seconds"])
    return sum(float(value) for value in read_table(source).values())


def _rows(paths: tuple[Path, Path, Path | None]) -> Iterator[Row]:
    """(utterance, ts, rm, transcript) of files that are in step."""
    readers = [read_texts([path]) for path in paths if path]
    for lines in zip_longest(*readers, fillvalue=(None, "")):
        ids = {utterance for utterance, _ in lines}
        if len(ids) > 1:
            named = ", ".join(
                f"{path.name}: {line[0]}" for path, line in zip(paths, lines, strict=False) if path
            )
            raise InputError(
                f"{paths[0].parent}: files name different utterances ({named}); run stage 4 again"
            )
        texts = [text for _, text in lines]
        yield lines[0][0], texts[0], texts[1], texts[2] if len(texts) > 2 else None


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as stream:
            return sum(1 for _ in stream)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run stage 4 first") from None


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(islice(rows, BLOCK)):
        yield block
