#!/usr/bin/env bash
# ctc_kd_run.sh LIST N RECIPE...: train, decode and score the run that line N of LIST names.
# A line: row seed first_stage decodings sets (the last two with commas for spaces; + for the commas in them).
set -euo pipefail
list=$1 line=$2; shift 2
read -r row seed first decodings sets < <(sed -n "${line}p" "${list}")
decodings=${decodings//,/ }
exec "$@" --stage "${first}" --stop_stage 9 --row "${row}" --seed "${seed}" --ctc_tag "seed${seed}" \
  --decodings "${decodings//+/,}" --decode_sets "${sets//,/ }" --report_pages none
