"""Subword tokenizers, the joint vocabulary, segments and sequence templates."""

from espnet_sld.tokens import dmlm_templates
from espnet_sld.tokens.segments import IMAGE, NONE, SPEECH, TEXT, Segment
from espnet_sld.tokens.sequence import Sequence, assemble
from espnet_sld.tokens.subword import build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.templates import TEMPLATES, Template, get_template
from espnet_sld.tokens.vocabulary import Vocabulary

__all__ = [
    "IMAGE",
    "NONE",
    "SPEECH",
    "TEMPLATES",
    "TEXT",
    "Segment",
    "Sequence",
    "Template",
    "Vocabulary",
    "assemble",
    "build_text_tokenizer",
    "build_unit_tokenizer",
    "dmlm_templates",
    "get_template",
]
