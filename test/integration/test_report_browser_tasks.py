"""report.html of CTC models and of models with several tasks, in a real browser."""

import pytest

from espnet_sld.bin import report
from espnet_sld.scoring.result import read_counts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def several_tasks(small_tasks, fsdd_dir, tmp_path_factory):
    """Pages of a model with four tasks, and of the two of its recipe."""
    folder = small_tasks.make_dmlm(tmp_path_factory.mktemp("dmlm"), fsdd_dir)
    report.main(["--exp_dir", str(folder / "exp/dmlm_a"), "--recipe_dir", str(folder), "--resamples", "200"])
    return folder


def settled(reader, page):
    reader.wait(page)
    return [*page.problems, *reader.outside(page)]


def test_a_model_with_several_tasks_shows_speech_images_and_captions(
    browser, reader, several_tasks, tmp_path
):
    browser.look()
    browser.open(several_tasks / "exp" / "dmlm_a" / "report.html")
    loaded = """Promise.all([...document.querySelectorAll('#speech audio')].map(player =>
      new Promise((done, fail) => { player.onloadedmetadata = () => done(player.duration);
        player.onerror = fail; player.load(); })))"""
    durations = browser.evaluate(loaded)
    assert len(durations) == 8 and min(durations) > 0.2
    drawn = (
        "Promise.all([...document.querySelectorAll('#speech image')].map(one => new Promise((done, fail) => {"
    )
    drawn += " const copy = new Image(); copy.onload = () => done(copy.width); copy.onerror = fail;"
    drawn += " copy.src = one.getAttribute('href'); })))"
    assert min(browser.evaluate(drawn)) > 20
    titles = browser.evaluate("window.report.data.sets.map(set => set.title)")
    reader.choose(browser, "set", str(titles.index("test: synthesised speech")))
    labels = browser.evaluate(
        "[...document.querySelectorAll('#utterances label')].map(one => one.textContent)"
    )
    assert labels == ["recorded", "synthesised"] * 8
    assert "another recogniser heard" in browser.evaluate("document.getElementById('about-set').textContent")
    reader.choose(browser, "set", str(titles.index("digits: captions")))
    images = "[...document.querySelectorAll('#utterances img')]"
    decoded = f"Promise.all({images}.map(one => one.decode().then(() => one.naturalWidth)))"
    assert browser.evaluate(decoded) == [8] * 8
    shown = browser.evaluate(
        "[...document.querySelectorAll('#utterances li')].map(li => !!li.querySelector('img'))"
    )
    assert shown == [True] * 8
    assert browser.evaluate("document.querySelector('#filter option[value=audio]').hidden")
    reader.search(browser, "written by hand")  # a reference, but of no caption the closest
    assert browser.evaluate(reader.ITEMS) == 0
    reader.search(browser, "digit nine")
    assert browser.evaluate(reader.ITEMS) == 1  # heard for a zero
    assert "→" in browser.evaluate("document.querySelector('#utterances .S').textContent")
    assert settled(reader, browser) == []
    for dark in (False, True):
        browser.look(width=390, height=844, phone=True, dark=dark)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    wide = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
    assert browser.evaluate(wide) >= 1  # tables scroll inside
    browser.look()


def test_captions_of_two_models_are_compared_as_wholes(browser, reader, several_tasks):
    browser.open(several_tasks / "report.html")
    titles = browser.evaluate("window.report.data.sets.map(set => set.title)")
    reader.choose(browser, "set", str(titles.index("digits: captions")))
    wrong = []
    for name in ("dmlm_a", "dmlm_b"):
        _, counts = read_counts(several_tasks / "exp" / name / "caption" / "digits" / "per_utterance.tsv")
        wrong.append((counts["hits"] < counts["words"]) | (counts["ins"] > 0))
    words = browser.evaluate("document.getElementById('comparison').textContent")
    first, second = (100 * one.mean() for one in wrong)
    assert f"a {first:.2f} % − b {second:.2f} % = Δ {first - second:+.2f} points".replace("-", "−") in words
    assert "captions that are no reference word by word" in words and "lambda_text" in words
    assert settled(reader, browser) == []


def test_pages_of_ctc_models_open_and_fit_a_phone(browser, reader, small_tasks, fsdd_dir, tmp_path):
    folder = small_tasks.make_ctc(tmp_path, fsdd_dir, ("ctc_seed1", "interaed_kd_seed1"))
    experiment = folder / "exp" / "table" / "interaed_kd_seed1"
    report.main(["--exp_dir", str(experiment), "--recipe_dir", str(folder), "--resamples", "200"])
    for path, sections in (
        (experiment / "report.html", ["results", "training", "tokens", "utterances"]),
        (folder / "report.html", ["results", "studies", "training", "compare"]),
    ):
        browser.look(width=390, height=844, phone=True)
        browser.open(path)
        links = browser.evaluate("[...document.querySelectorAll('nav a')].map(link => link.textContent)")
        assert links[:4] == sections
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert browser.evaluate("document.querySelectorAll('audio').length") >= 1
        assert settled(reader, browser) == []
    browser.look()
