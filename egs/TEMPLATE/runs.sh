# What drivers of many runs of a recipe share (studies and tables over seeds): the runs, and words for a failure.
# Sourced after common.sh.

lines=()                                   # the runs to come: options of run.sh, quoted

# add_run OPTION...: one run more. Between single quotes, which listed_run.sh reads: %q writes ä as $'\303\244'.
add_run() {
  local word line= quote="'\\''"
  for word in "$@"; do
    word=${word//$'\n'/ }
    line+=" '${word//"'"/"${quote}"}'"
  done
  lines+=("${line# }")
}

# run_all LIST JOBS RECIPE...: all runs that were added, JOBS at a time, each the recipe with its own options at the
# end; finished ones return at once. LIST.txt names them, their logs lie in LIST.log.
run_all() {
  local list=$1 at_once=$2 number=${#lines[@]}
  shift 2
  if [ "${dry_run}" = false ]; then
    mkdir -p "${list%/*}"
    printf '%s\n' "${lines[@]}" > "${list}.txt"
  fi
  lines=()
  run run.py --max-jobs-run "${at_once}" JOB=1:"${number}" "${list}.log/run.JOB.log" \
    "${MAIN_ROOT}/egs/TEMPLATE/listed_run.sh" "${list}.txt" JOB "$@"
}

# say_how_to_resume NAME [MORE]: what driver NAME says where it stops early; `command_line` is how it was called.
say_how_to_resume() {
  stopped_driver=$1 stopped_more=${2-}
  trap on_failure EXIT
}

on_failure() {
  local code=$?
  [ "${code}" -eq 0 ] || echo "${stopped_driver}: stopped (exit ${code}). Finished runs are kept; after mending the cause," \
    "resume with the same command: ${command_line}${stopped_more}" >&2
}
