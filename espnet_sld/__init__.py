"""Decoder-only speech recognition on discrete tokens.

Importing the package loads nothing heavy: rooms are imported where they are used.
"""

from espnet_sld.version import __version__

__all__ = ["__version__"]
