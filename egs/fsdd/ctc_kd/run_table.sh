#!/usr/bin/env bash
# The ablation rows over seeds on recorded digit strings: ./run_table.sh -- --fsdd_dir DIR
# --digit_order trigram (default): digits by a grammar; control: uniform digits, where a language model has nothing
# to teach. All other options are those of egs/TEMPLATE/ctc_kd_table.sh (--help lists them).
set -euo pipefail
. ./path.sh

order=trigram options=()
while [ $# -gt 0 ]; do
  case $1 in
    --digit_order) order=${2:?--digit_order needs a value}; shift 2 ;;
    --) break ;;
    *) options+=("$1"); shift ;;
  esac
done
case ${order} in
  trigram) sets="dev test_trigram test_uniform" main_set=test_trigram ;;
  control) sets="dev test_uniform" main_set=test_uniform ;;
  *) echo "run_table.sh: error: --digit_order ${order}: must be trigram or control" >&2; exit 1 ;;
esac

exec "${MAIN_ROOT}/egs/TEMPLATE/ctc_kd_table.sh" --table "exp_${order}/table" --recipe_opts "--digit_order ${order}" \
  --sets "${sets}" --speed_set "${main_set}" --beam_sets "${main_set}" ${options[@]+"${options[@]}"} "$@"
