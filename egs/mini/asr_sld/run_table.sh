#!/usr/bin/env bash
# Table 1 on mini: every objective over shared seeds, tuned alike on dev, then significance of the declared contrasts.
# Runs for hours; run it again to resume. The table appears in exp/table/TABLE.md.
. ./path.sh
. "${MAIN_ROOT}/egs/TEMPLATE/common.sh"

# begin options
seeds="1 2 3 4 5 6 7 8"            # seeds of the contrasted rows
rows="none ce sld matched"         # rows with all seeds
other_seeds="1 2 3 4"              # seeds of the other rows
other_rows="label_smoothing kl ce_weighted"  # rows with fewer seeds
tune_seed=100                      # seed of the tuning runs, not used in the table
tune_lr="0.001 0.002 0.003"        # learning rates tried for every row alike, chosen on dev
contrasts="sld:none,sld:ce,sld:matched"  # declared before any run
margin=0.5                         # equivalence margin, percent WER
num_test=2200                      # test utterances (at least 10 000 words)
jobs=2                             # trainings at a time, one thread each
dry_run=false                      # print the commands, run nothing
# end options
option_files=("${PWD}/run_table.sh")
. "${MAIN_ROOT}/utils/parse_options.sh"

table=exp/table
recipe=(./run.sh --dumpdir dump_table --datadir data_table --expdir exp/table --nj "${jobs}"
  --corpus_opts "--num_train 6000 --num_test ${num_test}")

# runs STAGE_FILE: one line a run, "tag row seed lr sets"; `jobs` at a time, finished ones return at once.
runs() {
  local list=$1
  run run.py --max-jobs-run "${jobs}" JOB=1:"$(wc -l < "${list}")" "${list%.txt}.log/run.JOB.log" \
    local/table_run.sh "${list}" JOB "${recipe[@]}"
}

run "${recipe[@]}" --stage 1 --stop_stage 6
mkdir -p "${table}"

for row in ${rows} ${other_rows}; do
  for lr in ${tune_lr}; do echo "tune_${row}_lr${lr} ${row} ${tune_seed} ${lr} dev"; done
done > "${table}/tuning.txt"
runs "${table}/tuning.txt"
run python3 local/choose_lr.py "${table}" "${rows} ${other_rows}" "${tune_lr}" "${table}/chosen.json"
[ "${dry_run}" = false ] || exit 0

lr_of() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]]["lr"])' "${table}/chosen.json" "$1"; }
list_rows() {  # seeds in the outer loop, so that an early look compares equal numbers
  local seed row
  for seed in $1; do
    for row in $2; do echo "${row}_seed${seed} ${row} ${seed} $(lr_of "${row}") dev,test,test_voices"; done
  done
}
{ list_rows "${other_seeds}" "${rows} ${other_rows}"; list_rows "${seeds}" "${rows}"; } |
  awk '!seen[$1]++' > "${table}/runs.txt"
runs "${table}/runs.txt"

run python3 -m espnet_sld.bin.table --runs_dir "${table}" --run_pattern "asr_sld_{row}_seed{seed}" \
  --rows "$(echo none ce label_smoothing kl sld matched ce_weighted | tr ' ' ,)" --sets dev,test,test_voices \
  --contrasts "${contrasts}" --margin "${margin}" --decode_tag decode_greedy --out "${table}/TABLE.md"
