"""Made-up run directories in the real layout: config.yaml, scored sets and tensorboard's event files."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from espnet_sld.scoring.result import score_set

GIT = "f" * 40
SENTENCES, WORDS = 40, 5


def _make_run(
    runs_dir: Path,
    row: str,
    seed: int,
    *,
    wrong: float,
    sets: tuple[str, ...] = ("dev",),
    dev_set: str = "dev",
    masked: bool = False,
    losses: tuple[float, ...] = (),
    conf: dict | None = None,
) -> Path:
    """A run whose words are misheard with probability `wrong` and whose dev CE of text was `losses`."""
    run = runs_dir / f"asr_sld_{row}_seed{seed}"
    run.mkdir(parents=True, exist_ok=True)
    stats = runs_dir / "stats" / "train" / "sequence_shape"
    config = {
        "mask_dev": masked,
        "time_mask_prob": 0.3,
        "best_model_criterion": [["valid", "ce_text", "min"]],
        "valid_data_path_and_name_and_type": [
            [f"dump/raw/{dev_set}/text.rm.mfcc_km200", "speech", "text"],
            [f"dump/raw/{dev_set}/text.ts.en", "text", "text"],
        ],
        "train_shape_file": [str(stats)],
        "criterion_conf": {"objective": row.split("_")[0], **(conf or {})},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    reference = runs_dir / "ref"
    reference.write_text("".join(f"u{n:03d} {' '.join('a' * WORDS)}\n" for n in range(SENTENCES)))
    generator = np.random.default_rng([seed, *row.encode()])
    for name in sets:
        out = run / "decode_greedy" / name
        out.mkdir(parents=True, exist_ok=True)
        errors = generator.random((SENTENCES, WORDS)) < wrong
        heard = (" ".join("b" if error else "a" for error in sentence) for sentence in errors)
        (out / "text").write_text("".join(f"u{n:03d} {words}\n" for n, words in enumerate(heard)))
        score_set(out / "text", reference, out, {"objective": row, "git": GIT})
    if losses:
        _write_events(run / "tensorboard" / "valid", losses)
    return run


def _write_events(folder: Path, losses: tuple[float, ...], *, first_epoch: int = 1, suffix: str = "") -> None:
    """Event files as training writes them: one point an epoch of 100 steps, several figures."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for epoch, value in enumerate(losses, first_epoch):
            for part, factor in (("loss", 3.0), ("ce_text", 1.0), ("ce_speech", 2.0), ("acc_text", -0.1)):
                writer.add_scalar(part, factor * value, epoch * 100)


@pytest.fixture(scope="session")
def pages(load_file) -> ModuleType:
    """Writes and reads report.html, `report_pages.py`."""
    return load_file(Path(__file__).with_name("report_pages.py"))


@pytest.fixture
def make_run() -> Callable[..., Path]:
    """See `_make_run`."""
    return _make_run


@pytest.fixture
def write_events() -> Callable[..., None]:
    """See `_write_events`."""
    return _write_events
