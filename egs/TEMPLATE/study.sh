#!/usr/bin/env bash
# Studies on top of a recipe: α (Fig. 2 of the SLD paper), the temperature T, or the objectives (Table 1, Fig. 3).
# Trains what is missing, prints a table and draws plots; run it again to resume. Call it in a recipe's folder
# (./run_studies.sh does). What follows -- goes to run.sh, e.g. -- --nj 8 --ngpu 1.
. ./path.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/runs.sh"

# begin options
study=alpha               # alpha | temperature | table
values=                   # what is tried; default: 0.0008 0.008 0.08 0.8 | 1 0.3 0.1 0.05 | the paper's five objectives
reference=none            # a sweep is compared with this objective (none: loss masking)
seeds=0                   # runs of each, e.g. "0 1 2"; with one, tables speak of models and not of methods
asr_config=conf/train.yaml  # training configuration; {objective} in it is replaced
asr_args=                 # more training options of every run
dev_loss=unmasked         # inputs of the dev loss: unmasked | masked, as the released code | both (everything twice)
dev_set=                  # set that models are chosen on; default: the recipe's
decode_sets=              # sets to decode and score; default: dev_set, or dev
contrasts=                # first:second,… ; default: each row with the reference; table: sld:none,sld:ce
margin=0.5                # equivalence margin, percent WER
parts=ce_text,ce_speech   # losses in the plot of curves
study_dir=exp/study       # where runs, tables and plots go
inference_tag=decode_greedy  # decoding that the table reads
jobs=1                    # trainings at a time
report=false              # train nothing: table and plots of what is there
dry_run=false             # print the commands, run nothing
# end options
option_files=("${TEMPLATE}/study.sh")
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
export trainings_at_once=${jobs}           # run.sh refuses several that would share this machine's GPUs

case ${study} in
  alpha | temperature | table) ;;
  *) die "--study ${study}: must be alpha, temperature or table" ;;
esac
case ${dev_loss} in
  unmasked | masked) kinds=("${dev_loss}") ;;
  both) kinds=(unmasked masked) ;;
  *) die "--dev_loss ${dev_loss}: must be unmasked, masked or both" ;;
esac
for seed in ${seeds}; do
  [[ ${seed} =~ ^[0-9]+$ ]] || die "--seeds ${seeds}: expected numbers"
done
: "${decode_sets:=${dev_set:-dev}}"
recipe=(./run.sh "$@" ${dev_set:+--dev_set "${dev_set}"})
trained=("${recipe[@]}" --expdir "${study_dir}")
sets=${decode_sets// /,}

say_how_to_resume study.sh "; --report true shows what there is"

# of_study KIND: the options that name the study's rows
of_study() {
  row_options=(--study "${study}" --values "${values}" --reference "${reference}" --asr_config "${asr_config}"
    --dev_loss "$1")
}

# In a function, so that bash has read it all before it begins: the file may change while it runs.
main() {
  local kind seed row objective config options names=() out
  for kind in "${kinds[@]}"; do
    of_study "${kind}"
    plan=$(python3 -m espnet_sld.bin.study "${row_options[@]}" --plan)  # refuses wrong values before anything runs
    while read -r row objective config options; do
      names+=("${row}")
      for seed in ${seeds}; do
        add_run --asr_tag "${row}_seed${seed}" --objective "${objective}" --seed "${seed}" --asr_config "${config}" \
          --asr_args "${options} ${asr_args}"
      done
    done <<< "${plan}"
  done

  if [ "${report}" = false ]; then
    run "${recipe[@]}" --stage 1 --stop_stage 5
    run "${trained[@]}" --stage 6 --stop_stage 6
    run_all "${study_dir}/${study}" "${jobs}" "${trained[@]}" --stage 7 --stop_stage 9 --decode_sets "${decode_sets}" \
      --report_pages experiment
  fi

  for kind in "${kinds[@]}"; do
    out=${study_dir}/${study}
    [ "${kind}" = unmasked ] || out+=_maskdev
    of_study "${kind}"
    run python3 -m espnet_sld.bin.study "${row_options[@]}" --runs_dir "${study_dir}" --sets "${sets}" \
      --decode_tag "${inference_tag}" --contrasts "${contrasts}" --margin "${margin}" --out "${out}"
  done
  if [ "${dry_run}" = true ] || compgen -G "exp*/*/*/*/result.json" > /dev/null \
    || compgen -G "exp*/*/*/*/*/result.json" > /dev/null; then
    run python3 -m espnet_sld.bin.report --recipe_dir .
  fi
  run python3 -m espnet_sld.bin.plot_curves --runs_dir "${study_dir}" --rows "$(IFS=,; echo "${names[*]}")" \
    --parts "${parts}" --out "${study_dir}/${study}_curves"
}
main
exit
