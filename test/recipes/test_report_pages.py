"""The pages that whole recipes write, opened in a real browser."""

import pytest

pytestmark = pytest.mark.campaign


@pytest.fixture
def browser(start_browser, tmp_path):
    with start_browser(tmp_path / "profile") as running:
        yield running


@pytest.fixture(params=["mini", "fsdd"])
def recipe(request, new_recipe, copy_recipe, tiny_training):
    if request.param == "fsdd":
        return new_recipe()
    options = ["--nclusters", "30", "--asr_args", tiny_training, "--test_sets", "test"]
    options += ["--corpus_opts", "--num_train 150 --num_dev 20 --num_test 20"]
    return copy_recipe("mini", options)


def test_a_recipes_pages_open_with_tables_curves_audio_and_attention(recipe, browser):
    recipe.run("--report_attention", "2", "--stop_stage", "9")
    experiment = next(recipe.folder.glob("exp/asr_sld_*/report.html"))
    for page in (experiment, recipe.folder / "report.html"):
        browser.open(page)
        browser.evaluate("new Promise(done => setTimeout(done, 500))")
        assert browser.problems == []
        assert [one for one in browser.requests if not one.startswith(("file://", "data:"))] == []
        assert browser.evaluate("document.querySelectorAll('table').length") >= 1
        assert browser.evaluate("document.querySelectorAll('figure.chart svg').length") >= 5
        durations = browser.evaluate(
            """Promise.all([...document.querySelectorAll('audio')].map(player => new Promise((done, fail) => {
              player.onloadedmetadata = () => done(player.duration);
              player.onerror = fail;
              player.load();
            })))"""
        )
        assert len(durations) >= 1 and min(durations) > 0.1
        assert browser.evaluate("document.querySelector('#problems') === null")
    browser.open(experiment)
    contents = browser.evaluate("[...document.querySelectorAll('nav a')].map(link => link.textContent)")
    assert contents == [
        "results", "training", "tokens", "utterances", "attention", "commands, options, environment"
    ]  # fmt: skip
    assert "Unit use of every set (stage 5)" in browser.evaluate("document.body.textContent")
