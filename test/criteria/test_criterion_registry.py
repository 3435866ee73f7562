"""Choosing a criterion from the config."""

import sys

import pytest
import torch

from espnet_sld.criteria import Criterion, Part, SpeechTextCriterion, build_criterion
from espnet_sld.errors import InputError

CONTEXT = {"text_vocabulary": 5, "speech_vocabulary": 4, "max_positions": None}


def test_builds_the_registered_criterion_with_options():
    built = build_criterion("speech_text", {"objective": "kl", "alpha": 0.5}, **CONTEXT)
    assert isinstance(built, SpeechTextCriterion)
    assert built.weights == {"ce_text": 1.0, "kl": 0.5}
    assert not list(built.parameters())


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(InputError, match=r"alhpa; known: alpha, .*temperature"):
        build_criterion("speech_text", {"alhpa": 0.5}, **CONTEXT)


@pytest.mark.parametrize(
    "conf",
    [{"objective": "slt"}, {"temperature": 0}, {"epsilon": 1.5}, {"kl_scope": "all"}, {"text_vocabulary": 3}],
)
def test_a_refused_value_is_an_input_error(conf):
    with pytest.raises(InputError, match=next(iter(conf))):
        build_criterion("speech_text", conf, **CONTEXT)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match="one of: speech_text"):
        build_criterion("speach", **CONTEXT)
    with pytest.raises(InputError, match="cannot be imported"):
        build_criterion("no_such_module:Loss", **CONTEXT)


def test_a_users_loss_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "my_loss.py").write_text(
        "from espnet_sld.criteria import Criterion, Part\n"
        "class Squared(Criterion):\n"
        "    count_names = ('rows',)\n"
        "    def __init__(self, text_vocabulary, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.weights = {'squared': scale}\n"
        "    def counts(self, tokens, kinds):\n"
        "        return {'rows': len(tokens)}\n"
        "    def forward(self, hidden, output_matrix, tokens, kinds):\n"
        "        return {'squared': Part(hidden.square().sum(), 'rows')}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    built = build_criterion("my_loss:Squared", {"scale": 2.0}, **CONTEXT)
    sys.modules.pop("my_loss")
    assert isinstance(built, Criterion)
    hidden, tokens = torch.ones(3, 2, 4), torch.zeros(3, 2)
    parts = built(hidden, None, tokens, tokens)
    assert isinstance(parts["squared"], Part)
    assert float(built.total(parts, built.counts(tokens, tokens))) == 2.0 * 24 / 3
