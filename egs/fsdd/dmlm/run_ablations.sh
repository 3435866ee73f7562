#!/usr/bin/env bash
# What each part of DMLM does: ./run_ablations.sh -- --fsdd_dir DIR. Rows and contrasts: conf/ablations.yaml.
# All other options are those of egs/TEMPLATE/dmlm_table.sh (--help lists them).
set -euo pipefail
. ./path.sh

exec "${MAIN_ROOT}/egs/TEMPLATE/dmlm_table.sh" --asr_sets "test_isolated voices" --st_sets test_isolated --caption_sets test_digits \
  --speech dump/raw/dev/text.rm.mfcc_km100 --text dump/raw/dev/text.ts.en --loss_only '^[a-z]+-\d-\d+$' "$@"
