"""The paper's model, whole: GPT-2 medium with 6002 more rows builds, and takes an optimiser step on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from espnet_sld.models.backbone import build_backbone

TEXT, SPEECH = 50257, 6000
JOINT = TEXT + 2 + SPEECH
SHAPE = {"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16, "n_positions": 1024}

# One optimiser step of the recipe's own configuration; its weights are random, all else is as in training.
STEP = """
import json, resource, sys
import torch
from espnet_sld.bin.train import load_task

torch.set_num_threads(1)
task = load_task()
from espnet_sld.tasks.command_line import parse_options
from espnet_sld.tokens.vocabulary import Vocabulary

args = parse_options(task.get_parser(), sys.argv[1:])
args.vocabulary, args.pad_id = Vocabulary(text=50257, speech=6000).as_dict(), 50256
model = task.build_model(args).train()
(optimizer,) = task.build_optimizers(args, model)
lengths = [24, 17]
tokens = torch.full((2, 24), 50256)
kinds = torch.zeros(2, 24, dtype=torch.uint8)
for row, length in enumerate(lengths):
    speech = length - 8                                  # pieces, <speech_end>, 6 text tokens, <text_end>
    tokens[row, :speech] = torch.randint(50259, 56259, (speech,))
    tokens[row, speech], tokens[row, length - 1] = 50258, 50257
    tokens[row, speech + 1 : length - 1] = torch.randint(0, 50256, (6,))
    kinds[row, : speech + 1], kinds[row, speech + 1 : length] = 2, 1
counts = model.criterion.counts(tokens, kinds)
step_counts = torch.tensor([float(counts[name]) for name in model.criterion.count_names])
weight = model.model.output_matrix()
before = weight[[0, 50256, 50257, 50258, 56258]].detach().clone()
out = model(tokens, kinds, torch.tensor(lengths), step_counts, torch.tensor([0]), torch.tensor([0, 1]))
out["loss"].backward()
optimizer.step()
print(json.dumps({
    "parameters": model.model.num_parameters(),
    "rows": weight.size(0),
    "loss": float(out["loss"]),
    "ce_text": float(out["stats"]["ce_text"]),
    "changed": (weight[[0, 50256, 50257, 50258, 56258]] != before).any(1).tolist(),
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
"""


def parameter_count(vocabulary: int, width: int = 1024, layers: int = 24, positions: int = 1024) -> int:
    """By hand: embeddings (the output matrix is the input's), and per block two norms, attention, MLP."""
    norm = 2 * width
    attention = width * 3 * width + 3 * width + width * width + width
    mlp = width * 4 * width + 4 * width + 4 * width * width + width
    return (vocabulary + positions) * width + layers * (2 * norm + attention + mlp) + norm


def available_memory() -> float:
    """Bytes that a new process may use."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return float(fields["MemAvailable"].split()[0]) * 1024


def test_the_extended_gpt2_medium_has_355_million_parameters_and_6002_rows():
    assert parameter_count(TEXT) == 354_823_168  # the published model
    with torch.device("meta"):
        model = build_backbone(None, SHAPE, JOINT, text_vocabulary=TEXT, max_positions=1024)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(JOINT) == 354_823_168 + 6002 * 1024
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tuple(model.get_input_embeddings().weight.shape) == (56259, 1024)
    assert model.config.resid_pdrop == model.config.embd_pdrop == model.config.attn_pdrop == 0.1


@pytest.mark.slow
def test_the_papers_configuration_takes_a_step_on_a_cpu_within_8_gb(repo_root, tmp_path):
    if (free := available_memory()) < 9e9:
        pytest.skip(f"needs 9 GB of free memory, {free / 1e9:.1f} GB are free")
    recipe = repo_root / "egs" / "librispeech" / "asr_sld"
    options = [item for key, value in SHAPE.items() for item in ("--backbone_conf", f"{key}={value}")]
    command = [sys.executable, "-c", STEP, "--config", "conf/train_sld_wavlm.yaml"]
    command += ["--output_dir", str(tmp_path), "--backbone_source", "none", *options]
    done = subprocess.run(command, cwd=recipe, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"one step of GPT-2 medium in float32 on a CPU: {found['peak_bytes'] / 1e9:.2f} GB at most")
    assert found["parameters"] == parameter_count(JOINT) and found["rows"] == JOINT
    assert found["changed"] == [True] * 5
    assert 9 < found["ce_text"] < 13  # random: about ln 56259 = 10.9
    # Weights, gradients and AdamW's two moments are 4 x 4 bytes a parameter; the batch is small beside them.
    assert 16 * found["parameters"] < found["peak_bytes"] < 8e9
