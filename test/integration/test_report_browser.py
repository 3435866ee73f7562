"""report.html in a real browser: tables sort, lists filter, audio plays, nothing is fetched."""

import json

import numpy as np
import pytest

from espnet_sld.bin import report
from espnet_sld.scoring.report.attention_data import packed
from espnet_sld.scoring.result import read_counts, score_set
from espnet_sld.scoring.significance import compare_models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(small_report, fsdd_dir, tmp_path_factory):
    """A recipe with its pages written; one experiment has attention too."""
    runs = ("asr_sld_none_seed1", "asr_sld_sld_seed1", "asr_sld_sld_alpha0.08_seed1")
    folder = small_report.make_recipe(tmp_path_factory.mktemp("recipe"), fsdd_dir, runs)
    weights = np.linspace(0, 1, 2 * 3 * 30, dtype=np.float32).reshape(2, 3, 30)
    words, units = ["one", "two", "<text_end>"], [str(n) for n in range(30)]
    shown = packed("theo-test-000", words, units, weights, weights, weights.sum(2))
    experiment = folder / "exp" / runs[0]
    (experiment / "attention.json").write_text(json.dumps({"utterances": [shown]}))
    report.main(["--exp_dir", str(experiment), "--recipe_dir", str(folder), "--resamples", "1000"])
    return folder


@pytest.fixture
def page(browser, recipe):
    browser.look()
    browser.open(recipe / "exp" / "asr_sld_none_seed1" / "report.html")
    return browser


@pytest.fixture
def comparison(browser, recipe):
    browser.look()
    browser.open(recipe / "report.html")
    return browser


def test_a_page_that_fetches_or_fails_would_be_noticed(browser, reader, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('no'); nowhere()</script>")
    browser.open(bad)
    reader.wait(browser)
    assert reader.outside(browser) == ["http://127.0.0.1:9/x.png"]
    assert any("nowhere is not defined" in problem for problem in browser.problems)
    assert any("no" in problem for problem in browser.problems)


@pytest.mark.parametrize("which", ["page", "comparison"])
def test_the_page_opens_without_a_request_or_an_error(which, reader, request):
    page = request.getfixturevalue(which)
    reader.wait(page)
    assert page.problems == []
    assert reader.outside(page) == []
    assert sum(address.startswith("file://") for address in page.requests) == 1
    assert page.evaluate("document.querySelectorAll('table').length") >= 1
    assert page.evaluate("document.querySelectorAll('audio').length") >= 1
    assert page.evaluate("document.querySelectorAll('figure.chart svg').length") >= 6


def test_audio_loads_and_lasts_as_long_as_the_recording(page):
    loaded = page.evaluate(
        """Promise.all([...document.querySelectorAll('audio')].map(player => new Promise((done, fail) => {
          const tell = () => done([player.closest('li').querySelector('b').textContent, player.readyState,
            player.duration]);
          if (player.readyState >= 1) tell(); else { player.onloadedmetadata = tell; player.onerror = fail; }
          player.load();
        })))"""
    )
    test = page.evaluate("window.report.data.sets[1]")
    seconds = dict(zip(test["utts"], test["seconds"], strict=True))
    assert len(loaded) == 24
    for utterance, ready, duration in loaded:
        assert ready >= 1 and duration == pytest.approx(seconds[utterance], abs=0.1)


def test_a_click_on_a_heading_sorts_by_numbers(comparison):
    column = (
        "[...document.querySelectorAll('#results tbody tr')].map(row => Number(row.cells[5].dataset.sort))"
    )
    heads = comparison.evaluate("[...document.querySelectorAll('#results th')].map(head => head.textContent)")
    assert heads[5] == "test WER %"
    click = "document.querySelectorAll('#results th button')[5].click()"
    rates = comparison.evaluate(column)
    comparison.evaluate(click)
    assert comparison.evaluate(column) == sorted(rates)
    comparison.evaluate(click)
    assert comparison.evaluate(column) == sorted(rates, reverse=True)
    assert comparison.evaluate("document.querySelectorAll('#results th')[5].ariaSort") == "descending"


def test_the_list_is_sorted_by_errors_and_filters_and_searches(page, reader, recipe):
    folder = recipe / "exp" / "asr_sld_none_seed1" / "decode_greedy" / "test"
    _, counts = read_counts(folder / "per_utterance.tsv")
    errors = counts["sub"] + counts["ins"] + counts["del"]
    items = "[...document.querySelectorAll('#utterances > li')]"
    marks = f"{items}.map(li => li.querySelectorAll('.S, .I, .D').length)"
    assert page.evaluate(marks) == sorted(errors.tolist(), reverse=True)
    for kind, column in (("S", "sub"), ("I", "ins"), ("D", "del")):
        reader.choose(page, "filter", kind)
        assert page.evaluate(reader.ITEMS) == (counts[column] > 0).sum() > 0
        assert page.evaluate(f"{items}.every(li => li.querySelector('.{kind}'))")
    # also told apart without colour
    look = "(kind, what) => getComputedStyle(document.querySelector('.key .' + kind))[what]"
    assert "line-through" in page.evaluate(f"({look})('D', 'textDecorationLine')")
    assert "underline" in page.evaluate(f"({look})('I', 'textDecorationLine')")
    assert page.evaluate(f"({look})('S', 'borderTopStyle')") == "solid"
    reader.choose(page, "filter", "all")
    lines = [
        [line.rsplit(" (", 1)[0] for line in (folder / name).read_text().splitlines()]
        for name in ("ref.trn", "hyp.trn")
    ]
    reader.search(page, "seven")
    expected = sum("seven" in ref or "seven" in hyp for ref, hyp in zip(*lines, strict=True))
    assert 0 < page.evaluate(reader.ITEMS) == expected < 24
    reader.search(page, "/test-00[0-4]/")
    assert page.evaluate(reader.ITEMS) == 5
    reader.search(page, "/(/")
    assert page.evaluate(reader.ITEMS) == 0 and page.evaluate(
        "!document.getElementById('search').validity.valid"
    )
    reader.search(page, "")
    reader.choose(page, "set", "0")
    assert "utterances of dev" in page.evaluate("document.getElementById('shown').textContent")
    assert page.problems == []


def test_two_experiments_are_compared_as_the_command_line_would(comparison, reader, recipe):
    names = comparison.evaluate("window.report.data.systems.map(one => one.name)")
    first, second = names.index("sld_seed1"), names.index("none_seed1")
    reader.choose(comparison, "first", str(first))
    reader.choose(comparison, "second", str(second))
    errors = []
    for name in ("sld_seed1", "none_seed1"):
        path = recipe / "exp" / f"asr_sld_{name}" / "decode_greedy" / "test" / "per_utterance.tsv"
        _, counts = read_counts(path)
        errors.append(counts["sub"] + counts["ins"] + counts["del"])
    expected = compare_models(*errors, counts["words"])
    found = comparison.evaluate(
        f"""(() => {{ const {{data, compare}} = window.report, set = data.sets[1];
          const count = (system) => set.utts.map((_, row) =>
            set.variants[row][set.systems[system][row]][1].replaceAll('=', '').length);
          const [a, b] = [count({first}), count({second})];
          const differences = a.map((value, row) => value - b[row]);
          return compare(differences, set.words, set.widening, 20000); }})()"""
    )
    assert found["delta"] == pytest.approx(expected.delta)
    width = expected.interval95[1] - expected.interval95[0]
    assert found["interval95"] == pytest.approx(expected.interval95, abs=0.05 * width)
    assert found["p"] == pytest.approx(expected.p, abs=max(0.02, 0.3 * expected.p))
    words = comparison.evaluate("document.getElementById('comparison').textContent")
    assert f"ΔWER {expected.delta:+.2f} points".replace("-", "−") in words
    better, worse = int((errors[0] < errors[1]).sum()), int((errors[0] > errors[1]).sum())
    assert f"the first in {better} utterances, the second in {worse}" in words
    assert "criterion_conf.objective" in words
    # differing utterances first
    gaps = comparison.evaluate("window.report.state.rows.map(row => row.gap)")
    assert gaps == sorted(np.abs(errors[0] - errors[1]).tolist(), reverse=True)
    reader.choose(comparison, "filter", "differ")
    assert 0 < comparison.evaluate(reader.ITEMS) < 24
    assert comparison.problems == []


def test_a_large_set_is_shown_in_parts(browser, reader, tmp_path):
    out = tmp_path / "exp" / "asr_sld_large" / "decode_greedy" / "test"
    out.mkdir(parents=True)
    references = [f"u{n:05d} " + " ".join("ab"[n >> bit & 1] for bit in range(13)) for n in range(5000)]
    (tmp_path / "ref").write_text("\n".join(references) + "\n")
    (out / "text").write_text("\n".join(line.replace(" a b a", " a c a") for line in references) + "\n")
    score_set(out / "text", tmp_path / "ref", out, {"git": "d" * 40})
    report.main(["--exp_dir", str(out.parents[1]), "--max_audio", "0", "--resamples", "100"])
    browser.look()
    browser.open(out.parents[1] / "report.html")
    assert browser.evaluate(reader.ITEMS) == 40
    browser.evaluate("document.getElementById('more').click()")
    assert browser.evaluate(reader.ITEMS) == 80
    assert "5000 of 5000 utterances" in browser.evaluate("document.getElementById('shown').textContent")
    assert browser.problems == []


def test_attention_is_drawn(page, reader):
    painted = """(() => { const canvas = document.getElementById('attention');
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let sum = 0; for (let i = 3; i < pixels.length; i += 4) sum += pixels[i]; return sum; })()"""
    sums = []
    for layer in ("0", "1"):
        reader.choose(page, "layer", layer)
        reader.choose(page, "shade", "all")
        sums.append(page.evaluate(painted))
    assert min(sums) > 0 and sums[0] != sums[1]
    assert "theo-test-000" in page.evaluate("document.getElementById('attention-note').textContent")


def test_it_is_readable_in_light_dark_on_a_phone_and_on_paper(page, tmp_path):
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"

    def brightness() -> list[float]:
        found = page.evaluate(colours)
        return [sum(map(int, colour.strip("rgb()").split(","))) / 765 for colour in found]

    page.look()
    paper, ink = brightness()
    assert paper > 0.9 and ink < 0.2
    page.look(dark=True)
    paper, ink = brightness()
    assert paper < 0.2 and ink > 0.8
    page.evaluate("document.getElementById('theme').click()")
    assert brightness()[0] > 0.9
    page.evaluate("document.getElementById('theme').click()")
    page.look(width=390, height=844, phone=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 14
    page.screenshot(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 10_000
    page.command("Emulation.setEmulatedMedia", media="print")
    assert brightness()[0] == 1.0
    assert page.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    page.command("Emulation.setEmulatedMedia", media="")
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
