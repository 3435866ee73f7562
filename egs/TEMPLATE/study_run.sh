#!/usr/bin/env bash
# study_run.sh LIST N ASR_ARGS SETS RECIPE...: train, decode and score the run that line N of LIST names.
set -euo pipefail
list=$1 line=$2 asr_args=$3 sets=$4; shift 4
read -r tag objective seed config options < <(sed -n "${line}p" "${list}")
exec "$@" --stage 7 --stop_stage 9 --asr_tag "${tag}" --objective "${objective}" --seed "${seed}" \
  --asr_config "${config}" --asr_args "${options} ${asr_args}" --decode_sets "${sets}" --report_pages experiment
