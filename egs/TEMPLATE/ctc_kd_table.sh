#!/usr/bin/env bash
# The ablation of interAED-KD: every row over shared seeds, beam search with an LM on row ctc, speed, significance.
# Trains what is missing; run it again to resume. The table appears in TABLE.md of --table. Call it in a recipe's
# folder (./run_table.sh does). What follows -- goes to run.sh, e.g. -- --fsdd_dir DIR.
. ./path.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/runs.sh"

# begin options
rows="ctc interctc aed aed_kd interaed interaed_kd ctc_kd"  # rows of the table
seeds="1 2 3 4 5"         # runs of each
contrasts="interaed_kd:ctc,interaed_kd:aed_kd,aed_kd:ctc,interaed_kd:ctc_beam"  # declared before any run
margin=0.5                # equivalence margin, percent WER
ctc_config=conf/train_table.yaml  # training configuration of every row
ctc_args=                 # more training options of every run
table=exp/table           # where all runs and the table go
recipe_opts=              # options of run.sh for every step
sets="dev test"           # sets to decode, dev first
speed_set=test            # real-time factors are measured on it, one decoding at a time
beam_sets=test            # sets of the beam search; empty: no beam search
beam_size=10              # hypotheses of the beam search
lm_weights="0.2 0.4 0.6 0.8"  # tried on dev with the first seed of row ctc; the best is taken for all
batch_size=64             # utterances of a batch where batched decoding is timed
jobs=2                    # trainings at a time, one thread each; with GPUs of this machine: 1
dry_run=false             # print the commands, run nothing
# end options
option_files=("${TEMPLATE}/ctc_kd_table.sh")
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"

known="ctc interctc aed aed_kd interaed interaed_kd ctc_kd"
for row in ${rows}; do
  [[ " ${known} " == *" ${row} "* ]] || die "no row '${row}'; there are: ${known}"
done
for seed in ${seeds}; do
  [[ ${seed} =~ ^[0-9]+$ ]] || die "--seeds ${seeds}: expected numbers"
done
[ -z "${beam_sets}" ] || [[ " ${rows} " == *" ctc "* ]] || die "--beam_sets ${beam_sets}: needs row ctc"
dev=${sets%% *} first_seed=${seeds%% *}
declared=()                                # contrasts of rows that are there
for pair in ${contrasts//,/ }; do
  [[ ${pair} == *:* ]] || die "--contrasts ${pair}: expected first:second"
  for row in "${pair%:*}" "${pair#*:}"; do
    [ "${row}" = ctc_beam ] || [[ " ${known} " == *" ${row} "* ]] || die "no row '${row}'; there are: ${known} ctc_beam"
  done
  [ -z "${beam_sets}" ] && [[ ${pair} == *ctc_beam* ]] || declared+=("${pair}")
done
shown=()                                   # a declared contrast stays in the table, also if its row was not run
for row in ${known}; do
  [[ " ${rows} ${declared[*]//:/ } " != *" ${row} "* ]] || shown+=("${row}")
done
split_words opts "${recipe_opts}"
export trainings_at_once=${jobs}           # run.sh refuses several that would share this machine's GPUs
recipe=(./run.sh --expdir "${table}" --ctc_config "${ctc_config}" --ctc_args "${ctc_args}"
  ${opts[@]+"${opts[@]}"} "$@")

say_how_to_resume run_table.sh

# row_run ROW SEED FIRST_STAGE DECODINGS SETS: one run more.
row_run() { add_run --row "$1" --seed "$2" --ctc_tag "seed$2" --stage "$3" --decodings "$4" --decode_sets "$5"; }

# all_runs NAME JOBS
all_runs() { run_all "${table}/$1" "$2" "${recipe[@]}" --stop_stage 9 --report_pages none; }

# In a function, so that bash has read it all before it begins: the file may change while it runs.
main() {
  local row seed weight tags=() beam=()
  run "${recipe[@]}" --stage 1 --stop_stage 6 --row interaed_kd --decodings "greedy${beam_sets:+ beam}"
  for seed in ${seeds}; do                 # seeds outside, so that an early look compares equal numbers
    for row in ${rows}; do row_run "${row}" "${seed}" 7 greedy "${sets}"; done
  done
  all_runs runs "${jobs}"

  if [ -n "${beam_sets}" ]; then           # the LM's weight, on dev
    for weight in ${lm_weights}; do
      row_run ctc "${first_seed}" 8 "beam:lm_weight=${weight},beam_size=${beam_size}" "${dev}"
      tags+=("decode_beam_lm_weight_${weight}_beam_size_${beam_size}")
    done
    all_runs lm_weights "${jobs}"
    tag=${tags[0]}
    choose=(python3 -m espnet_sld.bin.best_decoding --exp_dir "${table}/ctc_seed${first_seed}" --set "${dev}"
      --tags "${tags[@]}")
    if [ "${dry_run}" = true ]; then run "${choose[@]}"; else tag=$("${choose[@]}"); fi
    beam=(--beam_tag "${tag}")
    weight=${tag#decode_beam_lm_weight_}; weight=${weight%%_*}
  fi

  for row in ${rows}; do                   # timed: one at a time
    row_run "${row}" "${first_seed}" 8 "greedy:batch_size=1 greedy:batch_size=${batch_size}" "${speed_set}"
  done
  for seed in ${beam_sets:+${seeds}}; do
    row_run ctc "${seed}" 8 "beam:lm_weight=${weight},beam_size=${beam_size}" "${beam_sets}"
  done
  all_runs timed 1

  run python3 -m espnet_sld.bin.ctc_table --runs_dir "${table}" --rows "$(IFS=,; echo "${shown[*]}")" --sets "${sets// /,}" \
    --contrasts "$(IFS=,; echo "${declared[*]-}")" --margin "${margin}" --speed_set "${speed_set}" \
    --speed_tags "one by one=decode_greedy_batch_size_1,batches of ${batch_size}=decode_greedy_batch_size_${batch_size}" \
    ${beam[@]+"${beam[@]}"} --out "${table}/TABLE.md"
}
main; exit  # one line: nothing is read after it
