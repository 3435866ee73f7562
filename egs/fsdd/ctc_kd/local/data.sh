#!/usr/bin/env bash
# Stage 1: Free Spoken Digit Dataset, from --fsdd_dir or its public repository.
exec python3 -m espnet_sld.bin.prepare_fsdd "$@"
