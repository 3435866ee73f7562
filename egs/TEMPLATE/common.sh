# What every driver needs before its options: logging, stages, and words for a failure. Sourced first.

set -euo pipefail
. "${MAIN_ROOT:?source path.sh first}/utils/log.sh"

driver=$0
current_stage=                             # named when something fails
open_stage=                                # its summary is to come

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
  lines=$(xargs -r printf '%s\n' <<< "$2" && echo .) || die "$2: quotes do not match"
  mapfile -t words < <(printf '%s' "${lines%.}")  # up to the dot, so that an empty last word is one too
}

# check_call WORD...: refuse what is left of a command line (a word without its --, a list without its quotes), and
# trainings of a driver of many runs (runs.sh) that would share GPUs: each would count from the machine's first one.
check_call() {
  [ $# -eq 0 ] || die "unexpected argument: $*; options begin with --, a value of several words stands in quotes"
  if [ "${trainings_at_once:-1}" -gt 1 ] && [ "${ngpu}" -gt 0 ] && [ "${cmd_backend}" = local ]; then
    die "--jobs ${trainings_at_once} with --ngpu ${ngpu}: trainings on this machine would share its GPUs; give --jobs 1," \
      "or another cmd_backend"
  fi
}

# own_options DRIVER: option_files of a driver; first the recipe's own options (local/options.sh), if it has some, with
# derive_options, which reads them.
own_options() {
  option_files=("${TEMPLATE}/tokenize_options.sh" "${TEMPLATE}/$1")
  [ -f local/options.sh ] || return 0
  . local/options.sh
  option_files=("${recipe_options:-local/options.sh}" "${option_files[@]}")
}

# options_but NAME...: the options of stages 1-5 with their values into the array `passed`, without those named.
options_but() {
  local name
  passed=()
  for name in $(option_names "${TEMPLATE}/tokenize_options.sh"); do
    [[ " $* " == *" ${name} "* ]] || passed+=("--${name}" "${!name}")
  done
}

# tokenise OPTION...: those of stages 1-5 that are to run; more options win.
tokenise() {
  local passed
  [ "${stage}" -le 5 ] || return 0
  options_but
  "${TEMPLATE}/tokenize.sh" "${passed[@]}" "$@" --stop_stage "$((stop_stage < 5 ? stop_stage : 5))"
}

# write_run_script FILE: the exact command, kept with the experiment.
write_run_script() {
  mkdir -p "$(dirname "$1")"
  printf '#!/usr/bin/env bash\ncd %q\n%s\n' "${PWD}" "${command_line}" > "$1.tmp"
  chmod +x "$1.tmp"
  mv "$1.tmp" "$1"
}

# check_inputs DIRECTORY WHAT OTHER TAG COMMAND: ESPnet goes on from the checkpoint that is there, and returns at once from
# a finished one, whatever it was trained on. `inputs` in its directory keeps what COMMAND prints of that; a training that
# follows from something else is refused, as bin.train does.
check_inputs() {
  local folder=$1 now=$1/inputs.tmp before=$1/inputs
  mkdir -p "${folder}"
  "$5" > "${now}"
  if [ ! -e "${before}" ] && [ ! -e "${folder}/config.yaml" ]; then
    mv "${now}" "${before}"
  elif ! cmp -s "${now}" "${before}"; then
    die "${folder}: $2$([ -e "${before}" ] || echo " maybe") $3; give --$4, or delete it"
  fi
  rm -f "${now}"
}

# wanted N "what": true if stage N is to run; announces it. What ran before it is over.
wanted() {
  finish_stage
  [ "${stage}" -le "$1" ] && [ "$1" -le "${stop_stage}" ] || return 1
  [[ " ${skip_stages} " != *" $1 "* ]] || return 1
  current_stage=$1 open_stage=$1 stage_began=${SECONDS} stage_files=() stage_before=
  stage_place=${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}:${FUNCNAME[1]}
  LOG_UP=1 log "stage $1: $2"
}

# makes WHERE FILE NAME…: the stage is about to write WHERE/NAME/FILE for every name, FILE being what it writes last for
# one. Its summary counts them, and tells which are new. A NAME may be a pattern: train/*.
makes() {
  [ "${dry_run}" != true ] || return 0
  local where=$1 file=$2 name files=()
  shift 2
  [ $# -gt 0 ] || return 0
  for name in "$@"; do files+=("${where}/${name}/${file}"); done
  stage_files+=("${files[@]}")
  stage_before+=$(python3 -m espnet_sld.bin.stage_summary --state true --files "${files[@]}")$'\n'
}

# finish_stage: what the stage made or found, how many, where, in one line. Called by the next `wanted` and at the end.
finish_stage() {
  local number=${open_stage} seconds text
  open_stage=
  [ -n "${number}" ] && [ "${dry_run}" != true ] || return 0
  seconds=$((SECONDS - stage_began))
  text=$(python3 -m espnet_sld.bin.stage_summary --seconds "${seconds}" --before "${stage_before}" \
    --files ${stage_files[@]+"${stage_files[@]}"}) || text="in ${seconds} s"
  printf '%s (%s) stage %s done %s\n' "$(date '+%Y-%m-%dT%H:%M:%S')" "${stage_place}" "${number}" "${text}" >&2
}

on_exit() {
  local code=$?
  [ "${code}" -ne 0 ] || finish_stage
  [ "${code}" -ne 0 ] && [ -n "${current_stage}" ] || return 0
  local what="failed (exit ${code})"
  [ "${code}" -lt 129 ] || what="was ended by signal $((code - 128))"
  # driver_stage, from the environment: the stage of the driver that called this one, if its numbers are other ones
  echo "${driver##*/}: stage ${current_stage} ${what}. Finished work is kept;" \
    "resume with: ./run.sh --stage ${driver_stage:-${current_stage}} and your other options" >&2
}
trap on_exit EXIT
