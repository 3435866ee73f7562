"""Real recordings through training to scored text: greedy against the long way, beam search beside it."""

import json
import math
from itertools import product

import numpy as np
import pytest
import torch
import yaml

from espnet_sld.bin import decode_ctc, score, train_ctc
from espnet_sld.corpus.audio import read_audio
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.errors import InputError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOKENS = ["<blank>", "<unk>", *sorted({letter for word in DIGITS for letter in word}), "<sos/eos>"]
FRONT_END = {"fs": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 24}


@pytest.fixture(scope="module")
def digits(fsdd_dir, tmp_path_factory):
    """Three digits of two speakers, real recordings at 8 kHz; every third is dev."""
    root = tmp_path_factory.mktemp("digits")
    for part in ("train", "dev"):
        names = [f"{digit}_{speaker}_{take}" for digit in (1, 2, 6) for speaker in ("george", "theo")
                 for take in range(12) if (take % 3 == 0) == (part == "dev")]  # fmt: skip
        found = {name: fsdd_dir / "recordings" / f"{name}.wav" for name in names}
        found = {name: path for name, path in found.items() if path.exists()}
        data = DataDir(
            wav={name: str(path) for name, path in found.items()},
            utt2spk={name: name.split("_")[1] for name in found},
            text={name: DIGITS[int(name[0])] for name in found},
        )
        data.write(root / part)
    (root / "tokens.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def experiment(digits):
    """A small Conformer on filterbanks, trained for seconds."""
    config = {
        "input": "fbank",
        "frontend_conf": FRONT_END,
        "normalize": "global_mvn",
        "encoder": "conformer",
        "encoder_conf": {"output_size": 32, "attention_heads": 2, "linear_units": 48, "num_blocks": 2,
                         "cnn_module_kernel": 7, "input_layer": "conv2d", "dropout_rate": 0.0},
        "interctc_layers": "1",
        "self_conditioning": True,
        "criterion_conf": {"row": "interaed"},
        "decoder_conf": {"num_blocks": 1, "attention_heads": 2, "linear_units": 32},
        "token_type": "char",
        "token_list": str(digits / "tokens.txt"),
        "batch_bins": 600,
        "max_epoch": 8,
        "optim_conf": {"lr": 0.004},
        "scheduler": "warmup_cosine",
        "scheduler_conf": {"warmup_steps": 0.1},
        "keep_nbest_models": 1,
        "use_tensorboard": False,
        "seed": 0,
    }  # fmt: skip
    (digits / "train.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    arguments = [
        "--config",
        str(digits / "train.yaml"),
        "--output_dir",
        str(digits / "exp"),
        "--resume",
        "true",
    ]
    for mode, part in (("train", "train"), ("valid", "dev")):
        arguments += [f"--{mode}_data_path_and_name_and_type", f"{digits}/{part}/wav.scp,speech,sound"]
        arguments += [f"--{mode}_data_path_and_name_and_type", f"{digits}/{part}/text,text,text"]
    assert train_ctc.main(arguments) == 0
    return digits / "exp"


def decode(digits, experiment, tag, *more) -> dict:
    """Decode dev; decode.json with the texts under `text`."""
    out = experiment / tag / "dev"
    arguments = [
        "--exp_dir",
        str(experiment),
        "--speech_text",
        str(digits / "dev" / "wav.scp"),
        "--out_dir",
        str(out),
    ]
    assert decode_ctc.main([*arguments, *more]) == 0
    record = json.loads((out / "decode.json").read_text())
    lines = (out / "text").read_text(encoding="utf-8").splitlines()
    scores = dict(line.split() for line in (out / "scores").read_text().splitlines())
    return record | {"text": dict([*line.split(maxsplit=1), ""][:2] for line in lines), "scores": scores}


@pytest.mark.slow
def test_training_on_real_recordings_lowers_the_loss(digits, experiment) -> None:
    train_ctc.load_task()
    from espnet_sld.tasks import checkpoints

    stats = checkpoints.load_checkpoint(experiment)["reporter"]["stats"]
    losses = [stats[epoch]["train"]["loss"] for epoch in sorted(stats)]
    assert losses[-1] < 0.5 * losses[0]
    assert stats[8]["valid"]["ctc"] < stats[1]["valid"]["ctc"]


@pytest.mark.slow
def test_greedy_decoding_is_the_long_way_frame_by_frame(digits, experiment) -> None:
    from espnet_sld.inference.ctc_checkpoint import load_ctc

    found = decode(digits, experiment, "decode_greedy")
    single = decode(digits, experiment, "decode_greedy_b1", "--batch_size", "1")
    assert found["text"] == single["text"]
    assert (found["method"], found["too_short"], found["audio_seconds"]) == ("greedy", 0, 0.0)
    trained = load_ctc(experiment / "valid.ter.ave.pth")
    assert trained.model.encoder.encoder.shortcuts
    trained.model.encoder.encoder.shortcuts = False  # ESPnet's own forward
    for line in (digits / "dev" / "wav.scp").read_text().splitlines():
        name, path = line.split()
        samples = torch.from_numpy(read_audio(path, target_rate=8000))[None]
        with torch.no_grad():
            logits, _ = trained.model.logits(samples, torch.tensor([samples.size(1)]))
        text, before, score = "", 0, 0.0
        for frame in logits[0].double():
            label = int(frame.argmax())
            score += float(frame.log_softmax(-1)[label])
            if label not in (0, before):
                text += TOKENS[label]
            before = label
        assert found["text"][name] == text
        assert float(found["scores"][name]) == pytest.approx(score, abs=2e-3)


def write_lm(folder):
    """A Transformer LM as espnet2.bin.lm_train leaves it, with random parameters."""
    from espnet2.lm.transformer_lm import TransformerLM

    torch.manual_seed(0)
    conf = {"pos_enc": None, "embed_unit": 8, "att_unit": 16, "head": 2, "unit": 16, "layer": 1}
    values = TransformerLM(len(TOKENS), **conf).state_dict()
    folder.mkdir()
    settings = {"lm": "transformer", "lm_conf": conf, "token_list": TOKENS}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    torch.save({f"lm.{name}": value for name, value in values.items()}, folder / "valid.loss.ave.pth")
    return folder


@pytest.mark.slow
def test_greedy_and_beam_search_are_measured_and_scored_alike(digits, experiment) -> None:
    durations = {}
    for line in (digits / "dev" / "wav.scp").read_text().splitlines():
        name, path = line.split()
        durations[name] = len(read_audio(path, target_rate=8000)) / 8000
    table = digits / "utt2dur"
    table.write_text("".join(f"{name} {seconds:.5f}\n" for name, seconds in sorted(durations.items())))
    greedy = decode(digits, experiment, "decode_greedy_rtf", "--utt2dur", str(table), "--batch_size", "1")
    lm_exp = write_lm(digits / "lm")
    more = ("--utt2dur", str(table), "--beam_size", "4", "--lm_exp", str(lm_exp), "--lm_weight", "0.2")
    beam = decode(digits, experiment, "decode_beam_lm", *more)
    assert (beam["method"], beam["lm_weight"]) == ("beam 4", 0.2) and beam["lm_params"] > 0
    assert greedy["n_params"] == beam["n_params"] and greedy["objective"] == "interaed"
    for tag, record in (("decode_greedy_rtf", greedy), ("decode_beam_lm", beam)):
        assert record["audio_seconds"] == pytest.approx(sum(durations.values()), abs=1e-3)
        assert record["rtf"] == pytest.approx(record["decode_seconds"] / record["audio_seconds"])
        out = experiment / tag / "dev"
        assert (
            score.main(
                ["--hyp", str(out / "text"), "--ref", str(digits / "dev" / "text"), "--out_dir", str(out)]
            )
            == 0
        )
        result = json.loads((out / "result.json").read_text())
        assert result["rtf"] == record["rtf"] and result["utterances"] == len(durations)
        assert {"wer", "cer", "method", "beam_size"} <= result.keys()


@pytest.mark.parametrize("beam_size", [len(TOKENS) - 1, len(TOKENS)])
def test_a_wide_beam_finds_the_best_of_all_sequences(tmp_path, beam_size) -> None:
    """Exhaustive: log p_CTC(y) + w · log p_LM(y <eos>) + bonus over every sequence of three letters.

    A beam that has room for the blank is narrowed: ESPnet's would end in hypotheses with blanks.
    """
    from espnet_sld.models.ctc import CtcRecogniser, Encoded
    from espnet_sld.tasks.ctc_beam import CtcBeam, load_lm

    size, frames, letters = len(TOKENS), 4, (2, 3, 4)
    lm_file = write_lm(tmp_path / "lm") / "valid.loss.ave.pth"
    torch.manual_seed(5)
    logits = torch.full((frames, size), -60.0)
    logits[:, [0, *letters]] = 2 * torch.randn(frames, 4)

    class Fixed(torch.nn.Module):
        """An encoder that always hears the same."""

        def output_lengths(self, lengths):
            return lengths

        def forward(self, x, lengths, condition):
            return Encoded(logits[None], lengths, {})

    model = CtcRecogniser(Fixed(), size, size).eval()
    options = {"lm_weight": 0.7, "length_bonus": 5.0, "maxlenratio": 0.0, "minlenratio": 0.0}
    search = CtcBeam.build(model, TOKENS, {**options, "beam_size": beam_size}, lm_file)
    search.beam.scorers["ctc"].ctc.head = torch.nn.Identity()  # what it hears are the logits
    tokens, found = search(np.zeros(frames, dtype=np.float32))
    lm, log_probs = load_lm(lm_file, TOKENS).double(), logits.double().log_softmax(-1)
    best, value = [], -math.inf
    for length in range(frames + 1):
        for row in product(letters, repeat=length):
            target = torch.tensor([row], dtype=torch.int64)
            ctc = -torch.nn.functional.ctc_loss(
                log_probs[:, None], target, torch.tensor([frames]), torch.tensor([length]), reduction="sum"
            )
            with torch.no_grad():
                spoken = lm(torch.tensor([[size - 1, *row]]), None)[0].log_softmax(-1)[0]
            total = ctc + 0.7 * spoken[range(length + 1), [*row, size - 1]].sum() + 5.0 * (length + 1)
            if total > value:
                best, value = list(row), float(total)
    assert tokens == best and len(best) > 1
    assert found == pytest.approx(value, abs=1e-4)
    assert search.beam.beam_size == size - 1


def test_options_come_from_the_configuration_and_the_command_line(tmp_path) -> None:
    (tmp_path / "decode.yaml").write_text("beam_size: 7\nbatch_tokens: 99\n")
    parser = decode_ctc.get_parser()
    needed = [
        "--exp_dir",
        "x",
        "--speech_text",
        "x",
        "--out_dir",
        "x",
        "--config",
        str(tmp_path / "decode.yaml"),
    ]
    options = decode_ctc.read_options(parser.parse_args([*needed, "--lm_weight", "0.5", "--beam_size", "3"]))
    assert (options["beam_size"], options["batch_tokens"], options["lm_weight"]) == (3, 99, 0.5)
    with pytest.raises(InputError, match=r"--lm_file x.pth: a checkpoint of --lm_exp"):
        decode_ctc.read_options(parser.parse_args([*needed, "--lm_file", "x.pth"]))
    (tmp_path / "decode.yaml").write_text("beam: 7\n")
    with pytest.raises(InputError, match="unknown key beam"):
        decode_ctc.read_options(parser.parse_args(needed))


def test_what_is_not_there_is_named(tmp_path) -> None:
    needed = ["--exp_dir", str(tmp_path), "--speech_text", "x", "--out_dir", "x"]
    with pytest.raises(InputError, match=r"valid.ter.ave.pth: no such checkpoint; there are: none"):
        decode_ctc.main(needed)
    (tmp_path / "valid.ter.ave.pth").write_bytes(b"")
    best = tmp_path / "valid.loss.best.pth"  # there after the first epoch
    best.write_bytes(b"")
    with pytest.raises(InputError, match=r"valid.loss.ave.pth: no such file; train the LM to its end.*_file"):
        decode_ctc.main([*needed, "--lm_exp", str(tmp_path)])
    assert decode_ctc.lm_checkpoint(tmp_path, best.name) == best  # where it is asked for by name
