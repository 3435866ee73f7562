#!/usr/bin/env bash
# DMLM's ablations: the rows of a file (what they are, options of run.sh, contrasts declared before any run) over shared
# seeds, each task by its own figure, significance. Trains what is missing; run it again to resume. The table appears
# in <expdir>/<table>/TABLE.md. Call it in a recipe's folder (./run_ablations.sh does). What follows -- goes to run.sh.
. ./path.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/runs.sh"

# begin options
rows_file=conf/ablations.yaml  # rows, their options of run.sh, contrasts, margin
rows=                     # those of the file that are run; default: all
seeds="0 1 2 3 4"         # runs of each
table=ablations           # runs are called <expdir>/dmlm_<table>_<row>_seed<seed>
expdir=exp                # models; the units that are there serve all rows
first_stage=1             # of what the rows share (units, translations, images, by the first row's options); 7: all is there
asr_sets="dev test"       # recognised sets; "none": no set
st_sets=test              # translated sets
caption_sets=test_digits  # image sets
loss_set=dev              # set of the cross entropy of speech given its text; empty: none
speech=                   # its unit text, and
text=                     # its transcript
loss_only=                # regular expression that the ids of used utterances contain
labels="data/{}/labels"   # image classes of set {}
jobs=2                    # trainings at a time, one thread each; with GPUs of this machine: 1
report=false              # train nothing: the table of what is there
dry_run=false             # print the commands, run nothing
# end options
option_files=("${TEMPLATE}/dmlm_table.sh")
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
export trainings_at_once=${jobs}           # run.sh refuses several that would share this machine's GPUs

for seed in ${seeds}; do
  [[ ${seed} =~ ^[0-9]+$ ]] || die "--seeds ${seeds}: expected numbers"
done
[ -z "${loss_set}" ] || [ -n "${speech}" ] && [ -n "${text}" ] || die "--loss_set ${loss_set}: needs --speech and --text, its files"
out=${expdir}/${table}
recipe=(./run.sh --expdir "${expdir}" "$@")
command=(python3 -m espnet_sld.bin.dmlm_table --rows_file "${rows_file}" --rows "${rows// /,}" --table "${table}"
  --asr_sets "${asr_sets// /,}" --st_sets "${st_sets// /,}" --caption_sets "${caption_sets// /,}")

say_how_to_resume dmlm_table.sh "; --report true shows what there is"

# In a function, so that bash has read it all before it begins: the file may change while it runs.
main() {
  local plan listed name line options said seed exp experiments=()
  plan=$("${command[@]}" --plan rows)      # refuses a wrong file before anything runs
  listed=$("${command[@]}" --plan runs --seeds "${seeds// /,}")
  mapfile -t lines <<< "${listed}"
  while IFS=$'\t' read -ru 3 name line; do  # and an option that the recipe does not have
    split_words options "${line}"
    said=$("${recipe[@]}" "${options[@]}" --stage 99 --dry_run true 2>&1) || die "${rows_file}, row '${name}': ${said}"
  done 3<<< "${plan}"

  if [ "${report}" = false ]; then
    while IFS=$'\t' read -ru 3 name line; do
      split_words options "${line}"
      # once, by the first row's options: units, translations and images are the same for all
      [ "${first_stage}" -gt 6 ] || run "${recipe[@]}" "${options[@]}" --stage "${first_stage}" --stop_stage 6
      first_stage=7
      run "${recipe[@]}" "${options[@]}" --stage 9 --stop_stage 9  # lengths, before several runs ask for them
    done 3<<< "${plan}"
    run_all "${out}/runs" "${jobs}" "${recipe[@]}" --stage 10 --report_pages none
  fi

  if [ -n "${loss_set}" ]; then
    while IFS=$'\t' read -ru 3 name line; do
      for seed in ${seeds}; do
        exp=${expdir}/dmlm_${table}_${name}_seed${seed}
        [ ! -f "${exp}/train.done.json" ] || experiments+=("${exp}")
      done
    done 3<<< "${plan}"
    [ ${#experiments[@]} -eq 0 ] || run python3 -m espnet_sld.bin.task_losses --exp_dirs "${experiments[@]}" --task tts \
      --files "speech=${speech}" "text=${text}" --name "tts_${loss_set}" ${loss_only:+--only "${loss_only}"}
  fi
  run "${command[@]}" --runs_dir "${expdir}" --labels "${labels}" ${loss_set:+--loss "tts_${loss_set}"} --out "${out}/TABLE.md"
}
main; exit  # one line: nothing is read after it
