"""What a training writes: its state, the epochs' models, links and averages; in the background if it may."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from espnet2.train.reporter import Reporter
from torch import Tensor

from espnet_sld.errors import InputError
from espnet_sld.tasks import checkpoints

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Everything that a step or an epoch changes, less the place in the epoch."""

    model: torch.nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    schedulers: Sequence[Any]
    scaler: torch.amp.GradScaler | None
    reporter: Reporter

    def content(self, finished_epochs: int) -> dict[str, Any]:
        """What a checkpoint holds; tensors are the training's own and change with it.

        Args:
            finished_epochs: the epoch under way counts as not begun: it has no figures yet.
        """
        reporter = checkpoints.plain(self.reporter.state_dict())
        reporter["epoch"] = finished_epochs
        reporter["stats"] = {
            epoch: stats for epoch, stats in reporter["stats"].items() if epoch <= finished_epochs
        }
        return {
            "model": self.model.state_dict(),
            "reporter": reporter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler and scheduler.state_dict() for scheduler in self.schedulers],
            "scaler": self.scaler and self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put a checkpoint's content in place.

        Raises:
            InputError: it belongs to another model or optimiser.
        """
        try:
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (RuntimeError, ValueError) as error:
            lines = [line.strip() for line in str(error).splitlines()][:3]
            raise InputError(
                f"the checkpoint in the output directory is of another model ({' '.join(lines)[:300]}); "
                "choose another output_dir, or delete its checkpoints"
            ) from None
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            if scheduler is not None and saved is not None:
                scheduler.load_state_dict(saved)
        if self.scaler is not None and state.get("scaler") is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.reporter.load_state_dict(state["reporter"])


def snapshot(value: Any, copies: dict | None = None) -> Any:
    """A copy on the CPU that training does not change; tensors that share memory go on sharing it."""
    copies = {} if copies is None else copies
    if isinstance(value, Tensor):
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() == 0 or key not in copies:
            copies[key] = value.detach().to("cpu", copy=True)
        return copies[key]
    if isinstance(value, dict):
        return {key: snapshot(item, copies) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(item, copies) for item in value)
    return value


class BackgroundWriter:
    """One write at a time beside the training; what goes wrong is raised in the training's own thread."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Run `write` in the background, after the write before it."""
        self.join()

        def work() -> None:
            try:
                write()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, name="checkpoint writer")
        self._thread.start()

    def check(self) -> None:
        """Raise what a finished write died of."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def join(self) -> None:
        """Wait for the write, and raise what it died of."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()


class Saver:
    """Writes what training leaves behind (on the first process only).

    Args:
        directory: the experiment's.
        state: of the training; its reporter decides which models stay.
        criteria: (phase, name, mode) triples of `best_model_criterion`.
        nbests: `keep_nbest_models`.
    """

    def __init__(
        self, directory: Path, state: TrainingState, criteria: checkpoints.Criteria, nbests: list[int]
    ):
        self.directory, self.state, self.reporter = directory, state, state.reporter
        self.criteria, self.nbests = criteria, nbests
        self.writer = BackgroundWriter()

    def save_position(self, finished_epochs: int, position: dict[str, Any], *, background: bool) -> None:
        """The checkpoint with a place in the middle of an epoch; `background`: training need not wait."""
        content = self.state.content(finished_epochs) | {"position": position}
        if not background:
            self.writer.join()
            checkpoints.save_checkpoint(content, self.directory)
            return
        self.writer.join()  # before the copy: two copies at a time would be one too many
        content = snapshot(content)
        self.writer.start(lambda: checkpoints.save_checkpoint(content, self.directory))

    def save_epoch(self) -> None:
        """The epoch's model, the checkpoint, links, removal of what is no longer among the best."""
        self.writer.join()
        epoch = self.reporter.get_epoch()
        content = self.state.content(epoch)
        checkpoints.save(content["model"], self.directory / f"{epoch}epoch.pth")
        checkpoints.save_checkpoint(content, self.directory)
        self.tidy()

    def tidy(self) -> None:
        """Links and removals, from the reporter; harmless to repeat."""
        improved = checkpoints.update_links(self.directory, self.reporter, self.criteria)
        if improved:
            logger.info("best so far by %s", ", ".join(improved))
        checkpoints.remove_models(self.directory, self.reporter, self.criteria, max(self.nbests))

    def average(self, suffix: str | None = None) -> None:
        """Averages of the n best models."""
        checkpoints.average_nbest(self.directory, self.reporter, self.criteria, self.nbests, suffix)

    def close(self) -> None:
        """Let a write finish; a failure of its own is logged, as another error may be on its way."""
        try:
            self.writer.join()
        except Exception as error:
            logger.error("%s", error)
