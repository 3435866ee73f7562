#!/usr/bin/env bash
# Table 1 on mini: every objective over shared seeds, tuned alike on dev, then significance of the declared contrasts.
# Runs for hours; run it again to resume. The table appears in exp/table/TABLE.md. What follows -- goes to run.sh.
. ./path.sh
. "${MAIN_ROOT}/egs/TEMPLATE/common.sh"
. "${MAIN_ROOT}/egs/TEMPLATE/runs.sh"

# begin options
seeds="1 2 3 4 5 6 7 8"            # seeds of the contrasted rows
rows="none ce sld matched"         # rows with all seeds
other_seeds="1 2 3 4"              # seeds of the other rows
other_rows="label_smoothing kl ce_weighted"  # rows with fewer seeds
tune_seed=100                      # seed of the tuning runs, not used in the table
tune_lr="0.001 0.002 0.003"        # learning rates tried for every row alike, chosen on dev
contrasts="sld:none,sld:ce,sld:matched"  # declared before any run
margin=0.5                         # equivalence margin, percent WER
corpus_opts="--num_train 6000 --num_test 2200"  # sizes; 2200 test utterances have over 10 000 words
asr_config=conf/train.yaml         # training configuration of every row
table=exp/table                    # where all runs and the table go
jobs=2                             # trainings at a time, one thread each
dry_run=false                      # print the commands, run nothing
# end options
option_files=("${PWD}/run_table.sh")
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
export trainings_at_once=${jobs}           # run.sh refuses several that would share this machine's GPUs

# What would fail at the very end is refused now.
objectives="none ce label_smoothing kl sld matched ce_weighted"  # in the paper's order
for row in ${rows} ${other_rows} ${contrasts//[,:]/ }; do
  [[ " ${objectives} " == *" ${row} "* ]] || die "no objective '${row}'; there are: ${objectives}"
done
for seed in ${seeds} ${other_seeds}; do
  [ "${seed}" != "${tune_seed}" ] || die "--tune_seed ${tune_seed} is also a seed of the table; choose another"
done
recipe=(./run.sh --dumpdir dump_table --datadir data_table --expdir "${table}" --nj "${jobs}"
  --corpus_opts "${corpus_opts}" --asr_config "${asr_config}" "$@")

say_how_to_resume run_table.sh

# row_run TAG ROW SEED LR SETS: one training more.
row_run() {
  add_run --asr_tag "$1" --objective "$2" --seed "$3" --asr_args "--optim_conf lr=$4" --decode_sets "$5"
}

# all_runs NAME
all_runs() { run_all "${table}/$1" "${jobs}" "${recipe[@]}" --stage 7 --stop_stage 9 --report_pages experiment; }

# In a function, so that bash has read it all before it begins: the file may change while it runs.
main() {
  local row lr seed
  local -A chosen taken
  run "${recipe[@]}" --stage 1 --stop_stage 6

  for row in ${rows} ${other_rows}; do
    for lr in ${tune_lr}; do row_run "tune_${row}_lr${lr}" "${row}" "${tune_seed}" "${lr}" dev; done
  done
  all_runs tuning
  run python3 local/choose_lr.py "${table}" "${rows} ${other_rows}" "${tune_lr}" "${table}/chosen.json"
  for row in ${rows} ${other_rows}; do
    chosen[${row}]=CHOSEN
    [ "${dry_run}" = true ] || chosen[${row}]=$(python3 local/choose_lr.py "${table}/chosen.json" "${row}")
  done

  # seeds in the outer loop, so that an early look compares equal numbers
  for seed in ${seeds} ${other_seeds}; do
    for row in ${rows} ${other_rows}; do
      if [[ " ${rows} " == *" ${row} "* ]]; then
        [[ " ${seeds} " == *" ${seed} "* ]] || continue
      else
        [[ " ${other_seeds} " == *" ${seed} "* ]] || continue
      fi
      [ -z "${taken[${row}_${seed}]-}" ] || continue
      taken[${row}_${seed}]=yes
      row_run "${row}_seed${seed}" "${row}" "${seed}" "${chosen[${row}]}" "dev test test_voices"
    done
  done
  all_runs runs

  # a declared contrast stays in the table, also if its row was not run
  local listed=()
  for row in ${objectives}; do
    [[ " ${rows} ${other_rows} ${contrasts//[,:]/ } " != *" ${row} "* ]] || listed+=("${row}")
  done
  run python3 -m espnet_sld.bin.table --runs_dir "${table}" --run_pattern "asr_sld_{row}_seed{seed}" \
    --rows "$(IFS=,; echo "${listed[*]}")" --sets dev,test,test_voices --contrasts "${contrasts}" \
    --margin "${margin}" --decode_tag decode_greedy --out "${table}/TABLE.md"
  run python3 -m espnet_sld.bin.report --recipe_dir .
}
main
exit
