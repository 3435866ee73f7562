#!/usr/bin/env bash
# listed_run.sh LIST N COMMAND...: the command with the options of line N of LIST; quotes there keep spaces together.
set -euo pipefail
list=$1 line=$2; shift 2
lines=$(sed -n "${line}p" "${list}" | xargs -r printf '%s\n' && echo .)
mapfile -t options < <(printf '%s' "${lines%.}")  # up to the dot, so that an empty last word is one too
exec "$@" "${options[@]}"
