#!/usr/bin/env bash
# Decoder-only speech recognition on discrete tokens (SLD): from raw audio to a table of word error rates.
# Stages: 1-5 tokenise (tokenize.sh), 6 shapes and statistics, 7 train, 8 decode, 9 score and report.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"

# begin options
# -- this driver
stop_stage=9              # last stage to run
# -- model and training
num_nodes=1               # machines (one, until the Slurm back-end)
asr_config=conf/train.yaml  # ESPnet-style training configuration
asr_tag=                  # suffix of the experiment directory; default: from config, objective and seed
asr_args=                 # more training options, e.g. "--max_epoch 5"
objective=sld             # none | ce | label_smoothing | kl | sld | matched | ce_weighted
seed=0                    # initialisation, data order, dropout
max_positions=1024        # longest sequence; a longer speech part is cut and counted
max_text=150              # longest transcript in tokens
# -- decoding
inference_config=conf/decode_greedy.yaml  # beam size, batch size
inference_tag=            # default: the configuration's name
inference_model=valid.ce_text.ave.pth  # which checkpoint, chosen on dev
decode_sets=              # default: dev and test sets
# end options
option_files=("${TEMPLATE}/tokenize_options.sh" "${TEMPLATE}/asr_sld.sh")
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
. "${TEMPLATE}/names.sh"
[ "${num_nodes}" = 1 ] || die "--num_nodes ${num_nodes}: only 1 without a cluster back-end"

if [ -z "${asr_tag}" ]; then
  asr_tag=$(basename "${asr_config}" .yaml)
  asr_tag=${asr_tag#train}; asr_tag=${asr_tag#_}
  asr_tag=${asr_tag:+${asr_tag}_}${objective}_${unit_case}_${unit_token_type}_${unit_suffix}_seed${seed}
fi
asr_exp=${expdir}/asr_sld_${asr_tag}
stats=${expdir}/asr_sld_stats_${unit_case}_${unit_token_type}_${unit_suffix}_${text_token_type}
: "${inference_tag:=$(basename "${inference_config}" .yaml)}"
: "${decode_sets:=${dev_set} ${test_sets}}"

tokens=(--speech_token_type "${unit_token_type}" --speech_token_path "${unit_token_path}"
  --num_clusters "${nclusters}" --text_token_type "${text_token_type}" --text_token_path "${text_token_path}"
  --template asr_sld --max_positions "${max_positions}" --max_text "${max_text}")
# the exact command, kept with the experiment
write_run_script() {
  mkdir -p "$(dirname "$1")"
  printf '#!/usr/bin/env bash\ncd %q\n%s\n' "${PWD}" "${command_line}" > "$1.tmp"
  chmod +x "$1.tmp"
  mv "$1.tmp" "$1"
}
raw() { echo "${dumpdir}/raw/$1/$2"; }

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  if [ "${stage}" -le 5 ]; then
    passed=()
    for name in $(option_names "${TEMPLATE}/tokenize_options.sh"); do
      passed+=("--${name}" "${!name}")
    done
    last=$((stop_stage < 5 ? stop_stage : 5))
    "${TEMPLATE}/tokenize.sh" "${passed[@]}" --stop_stage "${last}"
  fi

  if wanted 6 "shapes and statistics"; then
    for part in "train ${train_dir}" "valid ${dev_set}"; do
      read -r role name <<< "${part}"
      run ${train_cmd} "${stats}/log/shapes.${role}.log" python3 -m espnet_sld.bin.collect_shapes \
        --speech_text "$(raw "${name}" "${unit_text}")" --text "$(raw "${name}" "${transcript}")" \
        "${tokens[@]}" --out_dir "${stats}/${role}"
    done
  fi

  if wanted 7 "train ${asr_exp}"; then
    criterion=(--criterion_conf "objective=${objective}")
    if [[ ${objective} == matched || ${objective} == ce_weighted ]]; then  # weights from counts on the training set
      derive=(python3 -m espnet_sld.bin.matched_weights --config "${asr_config}" --objective "${objective}"
        --length_stats "${stats}/train/length_stats.json")
      if [ "${dry_run}" = true ]; then run "${derive[@]}"; pairs=; else pairs=$("${derive[@]}"); fi
      for pair in ${pairs}; do criterion+=(--criterion_conf "${pair}"); done
    fi
    read -ra more <<< "${asr_args}"
    [ "${dry_run}" = true ] || write_run_script "${asr_exp}/run.sh"
    run ${cuda_cmd} --gpu "${ngpu}" "${asr_exp}/train.log" python3 -m espnet_sld.bin.train \
      --config "${asr_config}" --output_dir "${asr_exp}" --ngpu "${ngpu}" --seed "${seed}" --resume true \
      "${criterion[@]}" "${tokens[@]}" \
      --train_data_path_and_name_and_type "$(raw "${train_dir}" "${unit_text}"),speech,text" \
      --train_data_path_and_name_and_type "$(raw "${train_dir}" "${transcript}"),text,text" \
      --valid_data_path_and_name_and_type "$(raw "${dev_set}" "${unit_text}"),speech,text" \
      --valid_data_path_and_name_and_type "$(raw "${dev_set}" "${transcript}"),text,text" \
      --train_shape_file "${stats}/train/sequence_shape" --valid_shape_file "${stats}/valid/sequence_shape" \
      ${more[@]+"${more[@]}"}
  fi

  if wanted 8 "decode ${decode_sets}"; then
    for name in ${decode_sets}; do
      out=${asr_exp}/${inference_tag}/${name}
      run ${decode_cmd} --gpu "${ngpu}" "${out}/log/decode.log" python3 -m espnet_sld.bin.decode \
        --exp_dir "${asr_exp}" --checkpoint "${inference_model}" --config "${inference_config}" \
        --speech_text "$(raw "${name}" "${unit_text}")" --utt2dur "$(raw "${name}" utt2dur)" \
        --length_stats "${stats}/train/length_stats.json" --ngpu "${ngpu}" --out_dir "${out}"
    done
  fi

  if wanted 9 "score and report"; then
    for name in ${decode_sets}; do
      out=${asr_exp}/${inference_tag}/${name}
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/text" \
        --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/decode.json" --out_dir "${out}"
    done
    run python3 -m espnet_sld.bin.results --exp_dir "${asr_exp}"
  fi
}
stages
exit
