"""report.html: what it says is what the files say, it is bounded, and it fetches nothing."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from espnet_sld.bin import report
from espnet_sld.errors import InputError
from espnet_sld.scoring.report.attention_data import packed
from espnet_sld.scoring.report.build import Limits, write_experiment_report, write_recipe_report
from espnet_sld.scoring.report.experiment import find_experiments, read_experiment
from espnet_sld.scoring.report.page import json_for_html
from espnet_sld.scoring.report.payload import list_systems, set_payload, set_tables
from espnet_sld.scoring.report.setup_section import options_set
from espnet_sld.scoring.result import read_counts


@pytest.fixture(scope="module")
def recipe(small_report, fsdd_dir, tmp_path_factory):
    return small_report.make_recipe(tmp_path_factory.mktemp("report"), fsdd_dir)


@pytest.fixture(scope="module")
def experiment(recipe):
    return recipe / "exp" / "asr_sld_none_seed1"


@pytest.fixture(scope="module")
def page(experiment, pages):
    write_experiment_report(experiment, report.read_samples, pages.FEW)
    return (experiment / "report.html").read_text()


def copied(recipe, tmp_path, names):
    """Another recipe with copies of some experiments, which still name the first one's data."""
    other = tmp_path / "copy"
    other.mkdir()
    for name in ("dump", "data", "conf"):
        (other / name).symlink_to(recipe / name)
    subprocess.run(["mkdir", "-p", str(other / "exp")], check=True)
    for name in names:
        subprocess.run(["cp", "-r", str(recipe / "exp" / name), str(other / "exp" / name)], check=True)
    return other


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_alignments_on_the_page_have_the_counts_of_the_scored_files(page, experiment, pages):
    data = pages.data_of(page)
    assert [one["name"] for one in data["sets"]] == ["dev", "test"]
    for part in data["sets"]:
        utterances, counts = read_counts(experiment / "decode_greedy" / part["name"] / "per_utterance.tsv")
        assert part["utts"] == utterances and part["words"] == counts["words"].tolist()
        kept = zip(part["variants"], part["systems"]["0"], strict=True)
        paths = [known[place][1] for known, place in kept]
        for letter, column in (("S", "sub"), ("I", "ins"), ("D", "del")):
            assert [path.count(letter) for path in paths] == counts[column].tolist()
        assert sum(path != "" for path in paths) == (counts["sub"] + counts["ins"] + counts["del"] > 0).sum()


def test_the_table_has_the_rates_of_result_json(page, experiment):
    for name in ("dev", "test"):
        result = json.loads((experiment / "decode_greedy" / name / "result.json").read_text())
        row = re.search(rf"<tr><td>decode_greedy</td><td>{name}</td>(.*?)</tr>", page)[1]
        shown = [float(value) for value in re.findall(r'data-sort="([^"]+)"', row)]
        errors = [result[key] for key in ("sub", "ins", "del", "ref_words", "utterances")]
        assert shown[:7] == pytest.approx([result["wer"], result["cer"], *errors])
        low, high = map(float, re.search(r"\[([\d.]+), ([\d.]+)\]", row).groups())
        assert low < result["wer"] < high


def test_nothing_on_the_page_is_fetched_from_elsewhere(page):
    tags = Tags()
    tags.feed(page)
    addresses = [
        value
        for tag, attributes in tags.found
        for name, value in attributes.items()
        if name in ("src", "href", "action", "poster", "srcset") and value
    ]
    assert [one for one in addresses if not one.startswith(("#", "data:"))] == []
    policies = [item.get("content", "") for tag, item in tags.found if tag == "meta"]
    assert any("default-src 'none'" in policy for policy in policies)
    assert not re.search(r"https?://|@import|url\(", page.replace("arXiv", ""))
    assert sum(tag == "table" for tag, _ in tags.found) >= 4
    assert sum(tag == "svg" for tag, _ in tags.found) >= 8


def test_audio_on_the_page_is_the_recording(page, recipe, pages):
    data = pages.data_of(page)
    assert [len(one["audio"]) for one in data["sets"]] == [24, 24]  # fewer than the bound: all of them
    for part in data["sets"]:
        utterance, address = next(iter(part["audio"].items()))
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        original, own_rate = soundfile.read(recipe / "data" / "wavs" / part["name"] / f"{utterance}.wav")
        assert rate == 16000
        assert len(samples) / rate == pytest.approx(len(original) / own_rate, abs=0.1)
        # lossy, but the same sound: the energy of stretches goes up and down together
        energy = [
            np.array([np.square(stretch).sum() for stretch in np.array_split(sound, 8)])
            for sound in (samples, original)
        ]
        assert np.corrcoef(*energy)[0, 1] > 0.9


def test_the_page_is_a_function_of_the_files(page, experiment, pages):
    write_experiment_report(experiment, report.read_samples, pages.FEW)
    assert (experiment / "report.html").read_text() == page


def test_bounds_hold_and_what_is_left_out_is_named(recipe, tmp_path, pages):
    other = copied(recipe, tmp_path, ["asr_sld_none_seed1"])
    folder = other / "exp" / "asr_sld_none_seed1"
    made = write_experiment_report(
        folder, report.read_samples, Limits(audio=6, audio_bytes=20_000, text_bytes=600, resamples=200)
    )
    page = (folder / "report.html").read_text()
    data = pages.data_of(page)
    audio = [address for part in data["sets"] for address in part["audio"].values()]
    assert 0 < len(audio) == made.audio < 6 and sum(map(len, audio)) <= 20_000
    words = [text for part in data["sets"] for text in part["refs"] if text is not None]
    assert 0 < len(words) < 48 and sum(map(len, words)) < 600
    assert f"The words of {len(words)} of 48 utterances are in the page" in page
    assert "Chosen, but without audio" in page
    # what has no words keeps its alignment, and the page keeps those with most errors
    part = data["sets"][1]
    errors = [len(known[place][1].replace("=", "")) for known, place in zip(
        part["variants"], part["systems"]["0"], strict=True)]  # fmt: skip
    _, counts = read_counts(folder / "decode_greedy" / "test" / "per_utterance.tsv")
    assert errors == (counts["sub"] + counts["ins"] + counts["del"]).tolist()
    with_words = [error for error, text in zip(errors, part["refs"], strict=True) if text is not None]
    without = [error for error, text in zip(errors, part["refs"], strict=True) if text is None]
    assert min(with_words) >= max(without)


@pytest.mark.slow
def test_a_large_set_stays_within_the_text_bound(recipe, tmp_path, small_report):
    from espnet_sld.scoring.result import score_set

    generator = np.random.default_rng(0)
    out = tmp_path / "exp" / "asr_sld_large" / "decode_beam" / "test_clean"
    out.mkdir(parents=True)
    lines = [[small_report.DIGITS[n] for n in generator.integers(0, 10, 20)] for _ in range(5000)]
    (tmp_path / "ref").write_text("".join(f"u{n:05d} {' '.join(words)}\n" for n, words in enumerate(lines)))
    for words in lines[::2]:
        words[3] = "oh"
    (out / "text").write_text("".join(f"u{n:05d} {' '.join(words)}\n" for n, words in enumerate(lines)))
    score_set(out / "text", tmp_path / "ref", out, {"git": "d" * 40})
    experiment = read_experiment(tmp_path / "exp" / "asr_sld_large")
    systems = list_systems([experiment])
    tables, _ = set_tables(systems)
    bound = 200_000
    payload, kept = set_payload(tables[0], systems, text_bytes=bound)
    words = sum(len(text) for text in payload["refs"] if text)
    words += sum(len(text) for known in payload["variants"] for text, _ in known)
    assert 0 < words <= bound and 0 < kept < 5000
    # half of the utterances are right: none of them took room from one with an error
    assert all(text is None for place, text in enumerate(payload["refs"]) if place % 2)
    made = write_experiment_report(
        tmp_path / "exp" / "asr_sld_large", None, Limits(text_bytes=bound, resamples=100)
    )
    assert made.size < bound + 600_000 and made.audio == 0
    assert "No audio is in the page" in made.path.read_text()


def test_text_cannot_break_out_of_the_page(recipe, tmp_path, pages):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"
    assert json.loads(json_for_html({"a": evil})) == {"a": evil}
    assert not set(json_for_html({"a": evil})) & set("<>&")
    other = copied(recipe, tmp_path, ["asr_sld_none_seed1"])
    folder = other / "exp" / "asr_sld_none_seed1"
    (folder / "run.sh").write_text(f"echo {evil}\n")
    hypotheses = folder / "decode_greedy" / "test" / "hyp.trn"
    lines = hypotheses.read_text().splitlines()
    lines[0] = f"{evil.replace(' ', '_')} {lines[0][lines[0].index('(') :]}"
    hypotheses.write_text("\n".join(lines) + "\n")
    write_experiment_report(folder, None, pages.FEW)
    page = (folder / "report.html").read_text()
    assert page.count("<script") == 2 and "<img" not in page
    assert "&lt;/script&gt;" in page


def test_options_are_told_from_defaults_and_by_what_set_them(page, experiment):
    options = options_set(read_experiment(experiment).config)
    assert options["max_epoch"] == 4 and "seed" in options and "optim_conf.lr" in options
    assert not any(key.startswith("config") for key in options)
    rows = re.findall(
        r"<tr><td>([^<]+)</td><td><code>([^<]*)</code></td><td>([^<]*)</td><td>([^<]*)</td>", page
    )
    found = {name: (value, default, origin) for name, value, default, origin in rows}
    assert found["max_epoch"] == ("4", "40", "conf/train.yaml")
    assert found["criterion_conf.objective"] == ("none", "–", "command line")
    assert found["seed"] == ("1", "0", "command line")
    assert "python3 -m espnet_sld.bin.train --seed 1" in page and "node1" in page


def test_attention_survives_the_page(recipe, tmp_path, pages):
    other = copied(recipe, tmp_path, ["asr_sld_none_seed1"])
    folder = other / "exp" / "asr_sld_none_seed1"
    weights = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    shown = packed("u1", ["a", "b", "<end>"], list("wxyz"), weights, 2 * weights, weights.sum(2))
    (folder / "attention.json").write_text(json.dumps({"utterances": [shown]}))
    write_experiment_report(folder, None, pages.FEW)
    one = pages.data_of((folder / "report.html").read_text())["attention"][0]
    for kind, factor in (("mean", 1), ("max", 2)):
        for layer in range(2):
            steps_ = np.frombuffer(base64.b64decode(one[kind][layer]), np.uint8).reshape(3, 4)
            scale = one["scale"][kind][layer]
            assert steps_ / 255 * scale == pytest.approx(factor * weights[layer], abs=scale / 500)
    write_experiment_report(folder, None, Limits(attention_bytes=10, resamples=200))
    assert pages.data_of((folder / "report.html").read_text())["attention"] == []
    (folder / "attention.json").write_text('{"utterances": [{"x": 1}]}')
    with pytest.raises(InputError, match=r"attention\.json: not written by"):
        write_experiment_report(folder, None, pages.FEW)


def test_the_recipes_page_has_every_experiment_and_its_studies(recipe, small_report, pages):
    made = write_recipe_report(recipe, report.read_samples, pages.FEW)
    page = made.path.read_text()
    data = pages.data_of(page)
    names = [name.removeprefix("asr_sld_") for name in small_report.RUNS]
    assert sorted(one["name"] for one in data["systems"]) == sorted(names)
    assert [name for name, _ in find_experiments(recipe)] == sorted(small_report.RUNS)
    # the objectives: mean and standard deviation over seeds
    results = [
        json.loads((recipe / "exp" / f"asr_sld_none_seed{n}/decode_greedy/test/result.json").read_text())[
            "wer"
        ]
        for n in (1, 2)
    ]
    assert f"{np.mean(results):.2f} ± {np.std(results, ddof=1):.2f}" in page
    # Fig. 2: three values of α on the axis, loss masking as a dashed line in each set's colour
    chart = re.search(r"<figcaption>Weight of the KL.*?</svg>", page, re.S)[0]
    assert [f">{value}</text>" in chart for value in ("0.008", "0.08", "0.8")] == [True] * 3
    assert chart.count('class="level') == 2
    options = {one["name"]: one["options"] for one in data["systems"]}
    assert options["sld_alpha0.08_seed1"]["criterion_conf.alpha"] == "0.08"
    # every hypothesis of every experiment can be put together again
    for part in data["sets"]:
        for index, one in enumerate(data["systems"]):
            run = recipe / "exp" / f"asr_sld_{one['name']}" / "decode_greedy" / part["name"]
            heard = [line.partition(" ")[2].strip() for line in (run / "text").read_text().splitlines()]
            chosen = zip(part["variants"], part["systems"][str(index)], part["refs"], strict=True)
            assert [known[at][0] if known[at][1] else ref for known, at, ref in chosen] == heard


def test_experiments_that_cannot_be_compared_are_named(recipe, tmp_path, pages):
    other = copied(recipe, tmp_path, ["asr_sld_none_seed1", "asr_sld_none_seed2", "asr_sld_sld_seed1"])
    run = other / "exp" / "asr_sld_sld_seed1" / "decode_greedy" / "test"
    references = (run / "ref.trn").read_text().replace("one", "eleven")
    (run / "ref.trn").write_text(references)
    (other / "exp" / "asr_sld_none_seed2" / "decode_greedy" / "dev" / "per_utterance.tsv").write_text("x\n")
    (other / "exp" / "asr_sld_none_seed1" / "config.yaml").unlink()
    page = write_recipe_report(other, None, pages.FEW).path.read_text()
    assert "scored other utterances or references" in page
    assert re.search(r"left out: .*asr_sld_none_seed2/decode_greedy/dev/per_utterance\.tsv", page)
    assert "no config.yaml" in page
    assert sorted(one["name"] for one in pages.data_of(page)["systems"]) == ["none_seed1", "sld_seed1"]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="decode and score a set"):
        write_experiment_report(tmp_path)
    with pytest.raises(InputError, match="run a recipe first"):
        write_recipe_report(tmp_path)
    with pytest.raises(InputError, match="give --exp_dir"):
        report.main([])


def test_the_command_loads_neither_torch_nor_espnet(experiment):
    program = (
        "import sys\nfrom espnet_sld.bin import report\n"
        f"report.main(['--exp_dir', {str(experiment)!r}, '--max_audio', '4', '--resamples', '200'])\n"
        "print([name for name in ('torch', 'espnet2', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "1 decodings, 48 utterances, 4 with audio" in done.stderr
