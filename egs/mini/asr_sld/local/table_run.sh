#!/usr/bin/env bash
# table_run.sh LIST N RECIPE...: train, decode and score the run that line N of LIST names.
set -euo pipefail
list=$1 line=$2; shift 2
read -r tag row seed lr sets < <(sed -n "${line}p" "${list}")
exec "$@" --stage 7 --stop_stage 9 --asr_tag "${tag}" --objective "${row}" --seed "${seed}" \
  --asr_args "--optim_conf lr=${lr}" --decode_sets "${sets//,/ }" --report_pages experiment
