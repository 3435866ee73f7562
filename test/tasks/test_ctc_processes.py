"""Several processes train a CTC recogniser as one: the same batches, losses and gradients."""

import socket

import pytest
import torch

from espnet_sld.bin.train_ctc import load_task

load_task()
from espnet_sld.tasks import checkpoints  # noqa: E402

pytestmark = pytest.mark.slow
PARTS = ("loss", "ctc", "ctc_inter", "aed", "aed_inter")


def two_processes() -> list[dict[str, str]]:
    """Environments as torchrun sets them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1])}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]


@pytest.mark.parametrize(("accum", "dtype"), [(1, "float64"), (2, "float32")])
def test_two_processes_are_one_to_float_noise(server, ctc_config, command, tmp_path, accum, dtype) -> None:
    """With one micro-batch a step its rows are shared out; with two, each process has one whole."""
    exact = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    config = ctc_config | {
        "encoder_conf": ctc_config["encoder_conf"] | exact,
        "decoder_conf": ctc_config["decoder_conf"] | {"dropout_rate": 0.0},
        "self_conditioning": True,
        "train_dtype": dtype,
        "accum_grad": accum,
        "num_iters_per_epoch": accum,
        "max_epoch": 5,
    }
    started = [server.start(command(config, "one"), "train_ctc")]
    started += [server.start(command(config, "two"), "train_ctc", **place) for place in two_processes()]
    assert server.wait(*started) == [0, 0, 0], [server.log(pid) for pid in started]
    one, two = (checkpoints.load_checkpoint(tmp_path / name) for name in ("one", "two"))
    for phase, names in (("train", PARTS), ("valid", (*PARTS, "ter"))):
        curves = [
            torch.tensor(
                [[state["reporter"]["stats"][epoch][phase][name] for name in names] for epoch in range(1, 6)]
            )
            for state in (one, two)
        ]
        assert torch.allclose(*curves, rtol=1e-6 if dtype == "float64" else 1e-4, atol=1e-9), phase
        assert curves[0][-1, 0] < curves[0][0, 0]
    for number, state in one["optimizers"][0]["state"].items():
        # Adam's first moment is the gradients' mean: the processes had the gradients of one, step by step.
        moment = two["optimizers"][0]["state"][number]["exp_avg"]
        assert (moment - state["exp_avg"]).abs().max() <= 1e-7 + 1e-4 * state["exp_avg"].abs().max()
