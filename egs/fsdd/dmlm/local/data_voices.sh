#!/usr/bin/env bash
# Stage 1 of the ablations: the recorded digits, and `voices`, digits in synthetic voices. Options: those of data.sh.
set -euo pipefail
local/data.sh "$@"
while [ "${1:-}" != --data_dir ]; do shift; done
exec python3 -m espnet_sld.bin.prepare_voices --data_dir "$2"
