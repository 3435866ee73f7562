"""kill -9 in any stage, then the same command: the hypotheses of an undisturbed run."""

import pytest


def assert_same_after_kill(new_recipe, undisturbed, kills):
    recipe = new_recipe()
    for stage, after in kills:
        assert recipe.kill_in_stage(stage, after), f"stage {stage} ended before the kill"
    recipe.run()
    assert recipe.hypotheses() == undisturbed


@pytest.fixture(scope="module")
def undisturbed(new_recipe):
    recipe = new_recipe()
    recipe.run()
    hypotheses = recipe.hypotheses()
    assert len(hypotheses) == 3
    return hypotheses


@pytest.mark.slow
def test_a_kill_while_units_are_extracted_and_one_in_training_lose_nothing(new_recipe, undisturbed):
    assert_same_after_kill(new_recipe, undisturbed, [(4, 1.5), (7, 14.0)])


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
