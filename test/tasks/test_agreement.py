"""What the processes of a training wait for before they leave it; threads stand in for processes."""

import signal
import threading
import time
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch

from espnet_sld.bin.train import load_task

load_task()
from espnet_sld.tasks import midway, training_run  # noqa: E402
from espnet_sld.tasks.interruption import StopTraining  # noqa: E402
from espnet_sld.tasks.midway import Figures, Midway  # noqa: E402

WORLD = 2


class Company:
    """`Agreement`s of threads."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(WORLD, timeout=30)
        self.said: list = [None] * WORLD

    def member(self, rank: int) -> SimpleNamespace:
        def gather(mine):
            self.barrier.wait()
            self.said[rank] = mine
            self.barrier.wait()
            return list(self.said)

        return SimpleNamespace(
            rank=rank,
            world=WORLD,
            gather=gather,
            most=lambda wish: max(gather(int(wish))),
            wait=self.barrier.wait,
        )


def together(work) -> None:
    """Run `work(rank)` for every rank at once; what one raises is raised here."""
    errors = []

    def guarded(rank: int) -> None:
        try:
            work(rank)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(rank,)) for rank in range(WORLD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


def test_nobody_leaves_a_stopped_training_before_its_state_is_saved(monkeypatch) -> None:
    """Launchers end all processes of a training soon after the first one that leaves it."""
    monkeypatch.setattr(midway, "STOP", SimpleNamespace(wanted=True, signal=signal.SIGUSR1))
    events, company = [], Company()

    def save_position(finished, position, *, background):
        time.sleep(0.3)
        events.append("saved")

    saver = SimpleNamespace(save_position=save_position, writer=SimpleNamespace(check=lambda: None))
    factory = SimpleNamespace(steps_per_epoch=5, state_dict=dict)

    def work(rank: int) -> None:
        here = Midway(saver, company.member(rank), factory, save_steps=0, save_minutes=0.0)
        with pytest.raises(StopTraining):
            here.step_done(1, lambda: Figures({}, torch.zeros(2, dtype=torch.float64)))
        events.append("left")

    together(work)
    assert events == ["saved", "left", "left"]


def test_no_process_says_finished_before_the_averages_stand(monkeypatch, tmp_path) -> None:
    events, company, ranks = [], Company(), threading.local()

    def average(self):
        time.sleep(0.3)
        events.append("averaged")

    def resume(saver, *_):
        saver.reporter.set_epoch(1)

    monkeypatch.setattr(training_run, "Agreement", lambda distributed: company.member(ranks.own))
    monkeypatch.setattr(training_run, "_resume", resume)
    monkeypatch.setattr(training_run, "_epochs", lambda *_, **__: None)
    monkeypatch.setattr(training_run.Saver, "average", average)
    options = Namespace(
        output_dir=str(tmp_path), keep_nbest_models=[1], best_model_criterion=[], max_epoch=1, use_amp=False,
        ngpu=0, try_largest_batch=False, save_interval_steps=0, save_interval_minutes=0.0,
        use_tensorboard=False,
    )  # fmt: skip

    def work(rank: int) -> None:
        ranks.own = rank
        model, factory = torch.nn.Linear(1, 1), SimpleNamespace(steps_per_epoch=1)
        nothing = SimpleNamespace(distributed=False)
        training_run.run_epochs(None, model, [], [], factory, None, options, nothing)
        events.append("finished")

    together(work)
    assert events == ["averaged", "finished", "finished"]
