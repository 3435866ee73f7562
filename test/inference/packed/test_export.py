"""The exported language model, in transformers alone, writes what this toolkit writes."""

import functools
import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import espnet_sld
from espnet_sld.bin import export_lm
from espnet_sld.errors import InputError
from espnet_sld.inference.export_hf import export_lm as export
from espnet_sld.inference.unpack import Pack

# Every backbone type, and every kind of text tokeniser.
NAMES = ["plain", "pieces", "joined", "bytes"]


@pytest.fixture(scope="module")
def exported(packed, tmp_path_factory):
    """A function: a variant's name to the directory of its exported model, written when first asked for."""
    folder = tmp_path_factory.mktemp("exported")
    return functools.cache(lambda name: export(Pack.open(packed(name)), folder / name))


def prompts(speech2text, recipe):
    files = list(recipe.wavs().values())[::5]
    speech = speech2text.tokenizer([speech2text.read(path) for path in files])
    return files, [(speech2text.prompt(part), speech2text.bound(len(part.ids))) for part in speech]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_greedy_hypotheses_of_plain_transformers_are_ours(recipe, packed, exported, name):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed(name))
    files, given = prompts(speech2text, recipe)
    ours = speech2text(files)
    model = AutoModelForCausalLM.from_pretrained(exported(name))
    tokenizer = AutoTokenizer.from_pretrained(exported(name))
    assert not model.training
    for result, (prompt, bound) in zip(ours, given, strict=True):
        tokens = torch.as_tensor(prompt)[None]
        output = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=bound)
        new = output[0, len(prompt) :].tolist()
        assert tokenizer.decode(new, skip_special_tokens=True) == result.text
        text = [index for index in new if index != model.generation_config.eos_token_id]
        assert tuple(text) == result.segments[0].ids  # text ids are the joint ids
        assert (new[-1] == model.generation_config.eos_token_id) == (result.segments[0].stopped == "end")
    assert len({result.text for result in ours}) > 2


def test_a_batch_of_left_padded_prompts_gives_the_same(recipe, packed, exported):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed("plain"))
    files, given = prompts(speech2text, recipe)
    model = AutoModelForCausalLM.from_pretrained(exported("plain"))
    tokenizer = AutoTokenizer.from_pretrained(exported("plain"))
    width = max(len(prompt) for prompt, _ in given)
    tokens = torch.full((len(given), width), model.generation_config.pad_token_id)
    mask = torch.zeros_like(tokens)
    for row, (prompt, _) in enumerate(given):
        tokens[row, width - len(prompt) :] = torch.as_tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    output = model.generate(tokens, attention_mask=mask)[:, width:]
    speech2text.bound = lambda length: 9  # the export knows max_text alone
    expected = [result.text for result in speech2text(files)]
    assert tokenizer.batch_decode(output, skip_special_tokens=True) == expected


@pytest.mark.slow
def test_only_text_and_the_end_are_allowed(packed, exported):
    for name in NAMES:
        trained = Pack.open(packed(name)).trained()
        vocabulary = trained.vocabulary
        config = json.loads((exported(name) / "generation_config.json").read_text())
        joint = json.loads((exported(name) / "espnet_sld.json").read_text())
        end = vocabulary.id("<text_end>")
        allowed = (set(vocabulary.range("text")) - {trained.model.pad_id}) | {end}
        assert set(range(vocabulary.size)) - set(config["suppress_tokens"]) == allowed
        assert set(joint["allowed_token_ids"]) == allowed
        assert config["eos_token_id"] == end and config["max_new_tokens"] == 9
        assert joint["specials"] == {"<text_end>": end, "<speech_end>": end + 1}
        assert joint["ranges"]["speech"] == [end + 2, vocabulary.size]
        assert not list(exported(name).glob("*.bin")) and (exported(name) / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_directory_needs_nothing_of_this_package(recipe, packed, exported, tmp_path):
    speech2text = espnet_sld.Speech2Text.from_pretrained(packed("plain"))
    files, given = prompts(speech2text, recipe)
    (tmp_path / "prompts.json").write_text(json.dumps([prompt.tolist() for prompt, _ in given]))
    code = """
import json, sys, torch
sys.modules["espnet_sld"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (x.from_pretrained(sys.argv[1]) for x in (AutoModelForCausalLM, AutoTokenizer))
for prompt in json.load(open(sys.argv[2])):
    tokens = torch.tensor([prompt])
    output = model.generate(tokens, attention_mask=torch.ones_like(tokens))
    print(tokenizer.decode(output[0, len(prompt):], skip_special_tokens=True))
"""
    command = [sys.executable, "-c", code, str(exported("plain")), str(tmp_path / "prompts.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    speech2text.bound = lambda length: 9
    assert done.stdout.splitlines() == [result.text for result in speech2text(files)]


def test_the_command_writes_it_and_overwrites_nothing_else(packed, tmp_path, capsys):
    out = tmp_path / "lm"
    for _ in range(2):
        export_lm.main(["--pack", str(packed("plain")), "--out_dir", str(out)])
    assert str(out) in capsys.readouterr().out
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="exists and is no exported model"):
        export_lm.main(["--pack", str(packed("plain")), "--out_dir", str(tmp_path / "mine")])
