#!/usr/bin/env bash
# The ablation rows over seeds on LibriSpeech: ./run_table.sh -- --librispeech_dir DIR. For 100 h:
#   ./run_table.sh --table exp_librispeech_100/table --ctc_config conf/train_100h.yaml -- --variant librispeech_100
# Options: egs/TEMPLATE/ctc_kd_table.sh --help.
set -euo pipefail
. ./path.sh

exec "${MAIN_ROOT}/egs/TEMPLATE/ctc_kd_table.sh" --ctc_config conf/train_960h.yaml --margin 0.1 --jobs 1 \
  --sets "dev_clean dev_other test_clean test_other" --speed_set test_clean --beam_sets "test_clean test_other" \
  --batch_size 32 "$@"
