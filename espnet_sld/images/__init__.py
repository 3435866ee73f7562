"""Images → discrete tokens and back: quantisers behind one protocol, and token files.

Loads nothing by itself; `quantiser.load_quantiser` reads whichever quantiser a directory holds.
"""
