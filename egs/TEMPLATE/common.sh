# What every driver needs before its options: logging, stages, and words for a failure. Sourced first.

set -euo pipefail
. "${MAIN_ROOT:?source path.sh first}/utils/log.sh"

driver=$0
current_stage=

# run CMD...: run it, or with --dry_run true only show it.
run() {
  if [ "${dry_run}" = true ]; then
    printf '+'
    printf ' %q' "$@"                        # so that it can be pasted
    echo
  else
    "$@"
  fi
}

# split_words ARRAY "text": the words of a text into an array; quotes keep spaces together.
split_words() {
  local -n words=$1
  local lines
  words=()
  lines=$(xargs -r printf '%s\n' <<< "$2") || die "$2: quotes do not match"
  [ -z "${lines}" ] || mapfile -t words <<< "${lines}"
}

# wanted N "what": true if stage N is to run; announces it.
wanted() {
  [ "${stage}" -le "$1" ] && [ "$1" -le "${stop_stage}" ] || return 1
  [[ " ${skip_stages} " != *" $1 "* ]] || return 1
  current_stage=$1
  LOG_UP=1 log "stage $1: $2"
}

on_exit() {
  local code=$?
  [ "${code}" -ne 0 ] && [ -n "${current_stage}" ] || return 0
  local what="failed (exit ${code})"
  [ "${code}" -lt 129 ] || what="was ended by signal $((code - 128))"
  echo "${driver##*/}: stage ${current_stage} ${what}. Finished work is kept;" \
    "resume with: ./run.sh --stage ${current_stage} and your other options" >&2
}
trap on_exit EXIT
