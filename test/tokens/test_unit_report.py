"""The unit report: every figure recounted plainly, over sets in step; what does not fit together is named."""

import json
import math
from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from espnet_sld.bin import unit_report
from espnet_sld.errors import InputError
from espnet_sld.tokens import unit_report as report_module
from espnet_sld.tokens.subword import build_unit_tokenizer
from espnet_sld.tokens.train import train_subword
from espnet_sld.units.unit_text import ids_to_text

K = 30
SUFFIX = f"mfcc_km{K}"
WORDS = ["one", "two", "three", "four", "five"]


def draw_set(count, seed, clusters):
    """Units that stay a while, and some words; utterance → ids, words, seconds."""
    draw = np.random.default_rng(seed)
    rows = {}
    for index in range(count):
        ids = np.repeat(draw.integers(clusters, size=draw.integers(2, 60)), draw.integers(1, 4)).tolist()
        words = " ".join(draw.choice(WORDS, draw.integers(1, 6)))
        rows[f"utt{index:03d}"] = (ids, words, round(len(ids) * 0.02 + 0.01, 3))
    return rows


def write_set(folder, rows):
    folder.mkdir(parents=True)
    merged = {utt: [key for key, _ in groupby(ids)] for utt, (ids, *_) in rows.items()}
    tables = {
        f"text.ts.{SUFFIX}": {utt: ids_to_text(ids) for utt, (ids, *_) in rows.items()},
        f"text.rm.{SUFFIX}": {utt: ids_to_text(ids) for utt, ids in merged.items()},
        "text.ts.en": {utt: words for utt, (_, words, _) in rows.items()},
        "utt2dur": {utt: seconds for utt, (*_, seconds) in rows.items()},
    }
    for name, table in tables.items():
        (folder / name).write_text("".join(f"{utt} {value}\n" for utt, value in table.items()))
    return merged


@pytest.fixture(scope="module")
def sets():
    return {"train": draw_set(90, 0, K - 2), "dev": draw_set(25, 1, K - 3)}


@pytest.fixture
def dump(sets, tmp_path):
    for name, rows in sets.items():
        write_set(tmp_path / "raw" / name, rows)
    unit_text = tmp_path / "raw" / "train" / f"text.rm.{SUFFIX}"
    train_subword([unit_text], tmp_path / "src", kind="unit", model_type="unigram", vocab_size=60)
    train_subword([tmp_path / "raw/train/text.ts.en"], tmp_path / "word", kind="text", model_type="word")
    return tmp_path


def run(dump, *more, names=("train", "dev")):
    folders = [str(dump / "raw" / name) for name in names]
    unit_report.main(["--set_dirs", *folders, "--suffix", SUFFIX, "--out_dir", f"{dump}/out", *more])
    return json.loads((dump / "out" / "report.json").read_text(encoding="utf-8"))


def pieces(dump):
    return ["--token_type", "unigram", "--token_path", f"{dump}/src"]


def words(dump):
    return ["--text_token_type", "word", "--text_token_path", f"{dump}/word"]


def entropy(items):
    counts, total = Counter(items), len(items)
    return -sum(n / total * math.log2(n / total) for n in counts.values())


@pytest.mark.parametrize("case", ["ts", "rm"])
@pytest.mark.parametrize("block", [7, 2000])
def test_every_figure_is_that_of_a_plain_count(dump, sets, monkeypatch, case, block):
    monkeypatch.setattr(report_module, "BLOCK", block)
    report = run(dump, *pieces(dump), *words(dump), "--unit_case", case, "--max_positions", "40")
    tokenizer = build_unit_tokenizer("unigram", dump / "src", K)
    for name, rows in sets.items():
        use = report["sets"][name]
        ids = {"ts": [ids for ids, *_ in rows.values()]}
        ids["rm"] = [[key for key, _ in groupby(row)] for row in ids["ts"]]
        tokens = [tokenizer.encode(ids_to_text(row)) for row in ids[case]]
        seconds = sum(row[2] for row in rows.values())
        for key, found in (("ts", ids["ts"]), ("rm", ids["rm"]), (None, tokens)):
            stream, flat = use[f"units_{key}" if key else "tokens"], [i for row in found for i in row]
            assert stream["count"] == len(flat)
            assert stream["per_second"] == pytest.approx(len(flat) / seconds, abs=1e-3)
            assert stream["entropy_bits"] == pytest.approx(entropy(flat), abs=1e-4)
        flat = [i for row in tokens for i in row]
        assert use["tokens"]["used"] == len(set(flat)) and use["tokens"]["unknown"] == flat.count(0)
        used = {i for row in ids["ts"] for i in row}
        assert use["dead_clusters"] == [k for k in range(K) if k not in used]
        assert use["dead_cluster_count"] == len(use["dead_clusters"]) >= 2
        lengths = [len(t) + 2 + len(row[1].split()) for t, row in zip(tokens, rows.values(), strict=True)]
        positions = use["positions"]
        assert positions["transcripts"] and positions["max"] == max(lengths)
        assert positions["mean"] == pytest.approx(np.mean(lengths), abs=1e-3)
        assert sorted(lengths)[math.ceil(0.5 * len(lengths)) - 1] == positions["median"]
        over = sum(length > 40 for length in lengths)
        assert (positions["over"], positions["over_share"]) == (over, over / len(lengths))
        for first, last, count in positions["histogram"]:
            assert count == sum(first <= length <= (last or math.inf) for length in lengths)
        assert sum(count for *_, count in positions["histogram"]) == len(rows) == use["utterances"]
        assert positions["histogram"][15][1] == 40


def test_without_subwords_and_transcripts_positions_are_units_and_specials(dump, sets):
    report = run(dump)
    lengths = [len(list(groupby(ids))) + 2 for ids, *_ in sets["dev"].values()]
    assert report["sets"]["dev"]["positions"]["max"] == max(lengths)
    assert not report["sets"]["dev"]["positions"]["transcripts"]
    text = (dump / "out" / "report.md").read_text(encoding="utf-8")
    assert "Without transcripts, units and special tokens only: train, dev." in text


def test_the_page_shows_the_counts(dump):
    report = run(dump, *pieces(dump), *words(dump), "--max_positions", "40")
    lines = (dump / "out" / "report.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    dev = report["sets"]["dev"]
    assert ["dev", "25", "0.01", "3 of 30"] in [row[:4] for row in cells]
    assert [str(dev["units_ts"]["count"]), f"{dev['units_ts']['per_second']:.2f}"] in [
        row[1:3] for row in cells
    ]
    assert any(row[0] == "dev" and row[5] == str(dev["positions"]["over"]) for row in cells if len(row) == 7)
    assert sum("█" in line for line in lines) > 5


def test_seconds_are_taken_from_the_extraction_where_there_is_no_utt2dur(dump):
    (dump / "raw/dev/utt2dur").unlink()
    assert run(dump)["sets"]["dev"]["units_ts"]["per_second"] is None
    folder = dump / "extracted/dev"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"seconds": 10.0}')
    use = run(dump, "--extracted_dir", f"{dump}/extracted")["sets"]["dev"]
    assert use["units_ts"]["per_second"] == use["units_ts"]["count"] / 10


def test_a_report_that_is_up_to_date_is_kept_and_changed_units_renew_it(dump, sets):
    first = run(dump)
    page = dump / "out" / "report.md"
    before = page.stat().st_mtime_ns
    assert run(dump) == first and page.stat().st_mtime_ns == before
    for path in (dump / "raw/dev").iterdir():
        path.unlink()
    (dump / "raw/dev").rmdir()
    write_set(dump / "raw/dev", dict(list(sets["dev"].items())[:9]))
    assert run(dump)["sets"]["dev"]["utterances"] == 9


def test_what_does_not_belong_together_is_named(dump):
    rm = dump / "raw/dev" / f"text.rm.{SUFFIX}"
    whole = rm.read_text()
    lines = whole.splitlines(keepends=True)
    rm.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="files name different utterances"):
        run(dump)
    rm.write_text("".join([*lines[:4], lines[4].strip() + ids_to_text([0, 1, 2]) + "\n", *lines[5:]]))
    with pytest.raises(InputError, match=r"text.rm.*utterance utt004"):
        run(dump)
    changed = lines[4].split()
    rm.write_text("".join([*lines[:4], f"{changed[0]} {changed[1][::-1]}\n", *lines[5:]]))
    with pytest.raises(InputError, match="without equal neighbours"):
        run(dump)
    rm.write_text(whole)
    with pytest.raises(InputError, match=r"utterance utt\d+: character .* is no unit of 20 clusters"):
        run(dump, "--num_clusters", "20")
    (dump / "raw/dev" / f"text.ts.{SUFFIX}").unlink()
    with pytest.raises(InputError, match="no such file"):
        run(dump)


def test_wrong_options_are_input_errors(dump):
    with pytest.raises(InputError, match="different names"):
        run(dump, names=("dev", "dev"))
    with pytest.raises(InputError, match="belong together"):
        run(dump, "--text_token_type", "word")
    with pytest.raises(InputError, match="does not end in _km"):
        unit_report.main(["--set_dirs", "x", "--suffix", "mfcc", "--out_dir", str(dump)])
