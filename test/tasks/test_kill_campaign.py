"""kill -9 at random moments of a training costs time and nothing else: the end is bit-equal."""

import json
import os
import random
import signal
import time

import pytest

from espnet_sld.bin.train import load_task

load_task()


def survive(server, runs, config, command, tmp_path, kills: int, seed: int) -> list[float]:
    """Kill a training until it has died `kills` times, let it finish, compare; the moments, in seconds."""
    started = time.monotonic()
    assert server.wait(server.start(command(config, "undisturbed"))) == [0]
    length = time.monotonic() - started
    again = command(config, "killed", "--resume", "true", "--save_interval_steps", "7")
    generator, moments = random.Random(seed), []
    reach = 2.0 * length / kills
    for attempt in range(3 * kills + 5):
        if len(moments) == kills:
            break
        pid = server.start(again)
        # A moment of one start: some are before the first step, some in a save, some beyond a few epochs.
        moment = generator.uniform(0.0, reach)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        (code,) = server.wait(pid)
        assert code in (0, -9)
        moments += [moment] * (code == -9)
        if code == 0:  # it was over before it could be killed: once more from the beginning
            runs.assert_same_training(tmp_path / "killed", tmp_path / "undisturbed")
            (tmp_path / "killed").rename(tmp_path / f"over{attempt}")
            reach /= 2  # the undisturbed one took long, on a busy machine
    assert len(moments) == kills
    pid = server.start(again)
    assert server.wait(pid) == [0], server.log(pid)
    runs.assert_same_training(tmp_path / "killed", tmp_path / "undisturbed")
    return moments


@pytest.fixture
def killable(config) -> dict:
    """Epochs of 20 steps; saves after every 7 fall on their ends, their middles, and validations."""
    return {**config, "num_iters_per_epoch": 20, "keep_nbest_models": 2, "log_interval": 3}


@pytest.mark.slow
def test_two_kills_cost_nothing(server, runs, killable, command, tmp_path) -> None:
    survive(server, runs, {**killable, "max_epoch": 10}, command, tmp_path, kills=2, seed=1)


@pytest.mark.campaign
@pytest.mark.parametrize(
    "changes",
    [{"max_epoch": 100}, {"max_epoch": 20, "accum_grad": 2, "num_workers": 1}],
    ids=["plain", "workers"],
)
def test_twenty_kills_cost_nothing(server, runs, killable, command, tmp_path, changes) -> None:
    moments = survive(server, runs, {**killable, **changes}, command, tmp_path, kills=20, seed=2)
    print(json.dumps({"fault": "kill -9 in training", "tried": len(moments), "lost": 0}))
