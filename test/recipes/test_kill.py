"""kill -9 in any stage, then the same command: the hypotheses of an undisturbed run."""

import pytest


@pytest.fixture(scope="module")
def undisturbed(new_recipe):
    recipe = new_recipe()
    recipe.run()
    hypotheses = recipe.hypotheses()
    assert len(hypotheses) == 3
    return hypotheses


@pytest.mark.slow
def test_kills_while_units_are_extracted_and_in_mid_training_lose_nothing(new_recipe, undisturbed):
    recipe = new_recipe()
    assert recipe.kill_in_stage(4, after=0.2)
    assert recipe.kill_in_stage(7, seen="exp/asr_sld_*/1epoch.pth")
    recipe.run()
    assert recipe.hypotheses() == undisturbed


@pytest.mark.campaign
@pytest.mark.parametrize("after", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("stage", [2, 3, 4, 5, 6, 7, 8])
def test_a_kill_in_any_stage_loses_nothing(new_recipe, undisturbed, stage, after):
    recipe = new_recipe()
    recipe.run("--stop_stage", str(stage - 1))
    if not recipe.kill_in_stage(stage, after):
        pytest.skip(f"stage {stage} took less than {after} s")
    recipe.run()
    assert recipe.hypotheses() == undisturbed
