"""A packed CTC recogniser: no decoder in it, and raw audio gives what the stages give."""

import json

import pytest
import torch
import yaml
from safetensors import safe_open

import espnet_sld
from espnet_sld.bin import decode_ctc, train_ctc, transcribe
from espnet_sld.bin import pack as pack_command
from espnet_sld.errors import InputError
from espnet_sld.files import read_table
from espnet_sld.inference.export_hf import export_lm
from espnet_sld.inference.unpack import Pack, lay_out

K = 12
pytestmark = pytest.mark.slow
INPUTS = {
    "units": {"speech_token_type": "unigram", "num_clusters": K, "token_type": "char",
              "speech_token_path": f"data/token_list/src_bpe_unigram60_rm_mfcc_km{K}/bpe.model",
              "token_list": "data/token_list/char_en/tokens.txt"},
    "fbank": {"frontend_conf": {"fs": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 20},
              "normalize": "global_mvn", "token_type": "bpe",
              "token_list": "data/token_list/tgt_bpe_unigram40_ts_en/tokens.txt",
              "bpemodel": "data/token_list/tgt_bpe_unigram40_ts_en/bpe.model"},
}  # fmt: skip
SPEECH = {"units": f"dump/raw/{{}}/text.rm.mfcc_km{K}", "fbank": "dump/raw/org/{}/wav.scp"}


@pytest.fixture(scope="module", params=sorted(INPUTS))
def trained(request, recipe, tmp_path_factory):
    """(input, experiment, pack, texts of the test set by decode_ctc), made in the recipe's folder."""
    kind = request.param
    speech, exp = SPEECH[kind], f"exp/ctc_{kind}"
    config = {
        "input": kind,
        **INPUTS[kind],
        "encoder": "e_branchformer",
        "encoder_conf": {"output_size": 32, "attention_heads": 2, "num_blocks": 2, "cgmlp_linear_units": 48,
                         "cgmlp_conv_kernel": 7, "dropout_rate": 0.0},
        "interctc_layers": "1",
        "self_conditioning": True,
        "criterion_conf": {"row": "interaed"},
        "decoder_conf": {"num_blocks": 1, "attention_heads": 2, "linear_units": 32},
        "batch_bins": 800,
        "max_epoch": 2,
        "optim_conf": {"lr": 0.005},
        "use_tensorboard": False,
        "keep_nbest_models": 1,
    }  # fmt: skip
    pack = tmp_path_factory.mktemp("ctc") / f"{kind}.zip"
    with recipe.inside():
        with open(f"{kind}.yaml", "w", encoding="utf-8") as stream:
            yaml.safe_dump(config, stream)
        arguments = ["--config", f"{kind}.yaml", "--output_dir", exp]
        for mode, part in (("train", "train"), ("valid", "test")):
            for path, name in ((speech.format(part), "speech"), (f"dump/raw/{part}/text.ts.en", "text")):
                arguments += [f"--{mode}_data_path_and_name_and_type", f"{path},{name},text"]
        assert train_ctc.main(arguments) == 0
        best = torch.load(f"{exp}/valid.ter.ave.pth", weights_only=True)
        best["model.head.bias"][0] -= 4.0  # hardly trained, it would only say blanks
        torch.save(best, f"{exp}/valid.ter.ave.pth")
        out = f"{exp}/decode_greedy/test"
        decode_ctc.main(["--exp_dir", exp, "--speech_text", speech.format("test"), "--out_dir", out])
        pack_command.main(["--exp_dir", exp, "--out", str(pack), "--license", "cc-by-sa-4.0"])
        texts = read_table(f"{out}/text", allow_empty_value=True)
        scores = read_table(f"{out}/scores")
    return kind, recipe.folder / exp, pack, texts, scores


def test_the_pack_holds_the_inference_graph_and_no_decoder(trained) -> None:
    kind, exp, path, *_ = trained
    pack = Pack.open(path)
    with safe_open(pack.root / "model.safetensors", "pt") as stored:
        names = set(stored.keys())
        size = sum(stored.get_tensor(name).numel() for name in names)
    assert names and not any("decoder" in name for name in names)
    model = pack.trained().model
    assert names == set(model.state_dict()) and model.decoders is None
    buffers = sum(value.numel() for value in model.buffers() if value.requires_grad is False)
    assert pack.info["model"]["parameters"] == sum(p.numel() for p in model.parameters()) >= size - buffers
    assert pack.info["model"]["objective"] == "interaed"
    assert "decoder_conf" not in json.loads((pack.root / "config.json").read_text())
    assert str(exp.parent.parent) not in (pack.root / "config.json").read_text()
    card = (pack.root / "README.md").read_text(encoding="utf-8")
    assert "greedy CTC" in card and ("k-means clusters" in card) == (kind == "units")


def test_raw_audio_gives_the_texts_of_the_stages(trained, recipe) -> None:
    _, _, path, texts, scores = trained
    speech2text = espnet_sld.Speech2Text.from_pretrained(path)
    wavs = recipe.wavs()
    found = dict(zip(wavs, speech2text(list(wavs.values())), strict=True))
    assert {name: transcript.text for name, transcript in found.items()} == texts
    for name, transcript in found.items():
        assert transcript.score == pytest.approx(float(scores[name]), abs=2e-3)
    assert len(set(texts.values())) > 1


def test_long_recordings_are_cut_and_words_lie_in_order(trained, recipe, long_recording) -> None:
    kind, _, path, *_ = trained
    speech2text = espnet_sld.Speech2Text.from_pretrained(path)
    (cut,) = speech2text([str(long_recording)], word_times=True, max_segment_seconds=8.0)
    whole = speech2text(str(long_recording), max_segment_seconds=1e4)
    assert len(cut.segments) > 3 and len(whole.segments) == 1
    assert (whole.segments[0].speech is None) == (kind == "fbank")
    for segment in cut.segments:
        assert segment.end - segment.start <= 8.001
        assert [word.text for word in segment.words] == segment.text.split()
        edges = [edge for word in segment.words for edge in (word.start, word.end)]
        assert edges == sorted(edges) and all(segment.start <= edge <= segment.end + 0.05 for edge in edges)
        assert all(0 < word.confidence <= 1 for word in segment.words)
    with pytest.raises(InputError, match="decodes greedily"):
        speech2text(str(long_recording), beam_size=3)
    with pytest.raises(InputError, match="no option length_penalty"):
        speech2text(str(long_recording), length_penalty=3)


@pytest.mark.parametrize("form", ["txt", "jsonl", "srt"])
def test_the_command_serves_it(trained, recipe, capsys, form) -> None:
    *_, path, texts, _ = trained
    name, wav = next((name, wav) for name, wav in recipe.wavs().items() if texts[name])
    assert transcribe.main(["--model", str(path), "--format", form, wav]) == 0
    out = capsys.readouterr().out
    assert texts[name] in out and (form != "jsonl" or json.loads(out)["text"] == texts[name])


def test_what_such_a_pack_cannot_do_is_said(trained, tmp_path) -> None:
    kind, _, path, *_ = trained
    pack = Pack.open(path)
    with pytest.raises(InputError, match="no language model"):
        export_lm(pack, tmp_path / "exported")
    if kind == "fbank":
        with pytest.raises(InputError, match="hears filterbanks"):
            lay_out(pack, tmp_path / "kmeans", tmp_path / "lists")
