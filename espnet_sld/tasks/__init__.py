"""The ESPnet adapters: the only room that imports espnet2. Nothing is imported here: it takes seconds."""
