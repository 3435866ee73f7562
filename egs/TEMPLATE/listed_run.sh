#!/usr/bin/env bash
# listed_run.sh LIST N COMMAND...: the command with the options of line N of LIST; quotes there keep spaces together.
set -euo pipefail
list=$1 line=$2; shift 2
mapfile -t options < <(sed -n "${line}p" "${list}" | xargs -r printf "%s\n")
wait "$!"                                  # as that ended
exec "$@" "${options[@]}"
