"""Unmodified ESPnet programs train and decode on our tokens."""

import json
import shutil

import pytest

from espnet_sld.tokens.asr2_contract import check_contract

SHORT = "--max_epoch 1 --num_iters_per_epoch 4 --batch_bins 400 --keep_nbest_models 1"
TINY = {
    "discrete_asr": f"{SHORT} --encoder_conf num_blocks=1 --encoder_conf output_size=32 "
    "--frontend_conf embed_dim=32 --encoder_conf linear_units=32 --encoder_conf cgmlp_linear_units=32 "
    "--decoder_conf num_blocks=1 --decoder_conf linear_units=32",
    "lm_multitask": f"{SHORT} --lm_conf embed_unit=32 --lm_conf att_unit=32 --lm_conf unit=32",
}


@pytest.fixture(scope="module")
def recipe(new_recipe, repo_root):
    """A tiny FSDD recipe whose run.sh is the stock-ESPnet system's."""
    recipe = new_recipe()
    ours = repo_root / "egs" / "fsdd" / "asr2_espnet"
    shutil.copy(ours / "run.sh", recipe.folder / "run.sh")
    for path in (ours / "conf").iterdir():
        shutil.copy(path, recipe.folder / "conf" / path.name)
    at = recipe.options.index("--asr_args")
    recipe.options[at : at + 2] = ["--joint_nbpe", "100", "--nj", "1"]
    at = recipe.options.index("--test_sets")
    recipe.options[at + 1] = "test_strings"
    return recipe


@pytest.mark.parametrize(
    "system",
    [
        pytest.param("discrete_asr", marks=pytest.mark.slow),
        pytest.param("lm_multitask", marks=pytest.mark.campaign),
    ],
)
def test_stock_espnet_trains_and_decodes_on_our_tokens(system, recipe):
    options = ["--system", system, "--asr2_args", TINY[system], "--decode_sets", "test_strings"]
    recipe.run(*options)
    folders = [recipe.folder / name for name in ("dump", "data/token_list", "exp/kmeans")]
    findings = check_contract(*folders)
    assert findings.problems == [] and len(findings.checked) > 5
    name = system.replace("discrete_asr", "asr2")
    (result,) = recipe.folder.glob(f"exp/espnet_{name}_*/decode_beam/test_strings/result.json")
    values = json.loads(result.read_text())
    assert values["utterances"] == 20 and values["ref_words"] > 20
    assert values["n_params"] > 10_000 and values["rtf"] > 0 and values["load_seconds"] > 0
    before = result.with_name("text").stat().st_mtime_ns
    recipe.run("--stage", "8", *options)
    assert result.with_name("text").stat().st_mtime_ns == before, "a finished decoding must not be repeated"
