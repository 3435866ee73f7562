#!/usr/bin/env bash
# Stage 1: the embedded default corpus, synthesised on the spot.
exec python3 -m espnet_sld.bin.prepare_mini --nj "${nj:-1}" "$@"
