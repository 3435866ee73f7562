#!/usr/bin/env bash
# The ablation rows over seeds on synthetic commands: ./run_table.sh. Options: egs/TEMPLATE/ctc_kd_table.sh --help.
set -euo pipefail
. ./path.sh

exec "${MAIN_ROOT}/egs/TEMPLATE/ctc_kd_table.sh" --table exp/table --sets "dev test test_voices" --speed_set test \
  --beam_sets test --recipe_opts "--unit_subsampling 2" "$@"
