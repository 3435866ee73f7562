"""Decoder-only speech recognition on discrete tokens.

Importing the package loads nothing heavy: rooms are imported where they are used.
"""

from espnet_sld.lazy import loader
from espnet_sld.version import __version__

_EXPORTS = {"Pack": "inference.unpack", "Speech2Text": "inference.speech2text"}
__all__ = ["Pack", "Speech2Text", "__version__"]
__getattr__ = loader(__name__, _EXPORTS)
