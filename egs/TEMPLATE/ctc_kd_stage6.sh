# Stage 6 of ctc_kd.sh: what a language model knows, as soft labels and as the yardstick's LM. Sourced by it.

# Teacher (unless one is given), soft labels of the training set in jobs, joined; the teacher's report is shown.
make_soft_labels() {
  if [ -z "${teacher}" ]; then
    split_words bert "${bert_conf}"
    split_words training "${teacher_conf}"
    run ${cuda_cmd} --gpu "${one_gpu}" "${teacher_model%/model}/log/train.log" \
      python3 -m espnet_sld.bin.train_teacher --text "$(raw "${train_dir}" "${transcript}")" \
      --lm_train_text ${more_text[@]+"${more_text[@]}"} --held_out "$(raw "${dev_set}" "${transcript}")" \
      "${tokens[@]}" --bert_conf ${bert[@]+"${bert[@]}"} --teacher_conf ${training[@]+"${training[@]}"} \
      --ngpu "${one_gpu}" --out_dir "${teacher_model}"
  fi
  local labels=(python3 -m espnet_sld.bin.soft_labels --teacher "${teacher_model}" "${tokens[@]}"
    --text "$(raw "${train_dir}" "${transcript}")" --report_text "$(raw "${dev_set}" "${transcript}")"
    --top_k "${soft_label_k}" --temperature "${soft_label_temperature}" --ngpu "${one_gpu}" --out "${soft_labels}")
  run ${decode_cmd} --gpu "${one_gpu}" JOB=1:"${label_jobs}" "${soft_dir}/log/labels.JOB.log" \
    "${labels[@]}" --num_shards "${label_jobs}" --shard JOB
  run ${decode_cmd} --gpu "${one_gpu}" "${soft_dir}/log/join.log" "${labels[@]}"
  [ "${dry_run}" = true ] || grep '^teacher ' "${soft_dir}/log/join.log"
}

# What the LM follows from: its configuration, tokens and options, and what its texts and token list hold.
lm_inputs() {
  cksum < "${lm_config}"
  sort "$(raw "${train_dir}" "${transcript}")" ${more_text[@]+"${more_text[@]}"} | cksum
  cksum < "$(raw "${dev_set}" "${transcript}")"
  cksum < "${tokens[-1]}"
  printf '%s\n' "${tokens[@]}" ${more[@]+"${more[@]}"}
}

# ESPnet's Transformer LM on the same tokens; nothing if it is finished. In its folder, `inputs` says what it is of,
# `finished` the same once it was trained to the end.
train_lm() {
  split_words more "${lm_args}"
  if [ "${dry_run}" != true ]; then
    check_inputs "${lm_exp}" "an LM" "of other text or options" lm_tag lm_inputs
    ! cmp -s "${lm_exp}/inputs" "${lm_exp}/finished" || return 0
  fi
  local text=${lm_stats}/train_text dev
  dev=$(raw "${dev_set}" "${transcript}")
  local common=(--config "${lm_config}" --use_preprocessor true "${tokens[@]}" --cleaner none --g2p none
    --non_linguistic_symbols none --train_data_path_and_name_and_type "${text},text,text"
    --valid_data_path_and_name_and_type "${dev},text,text")
  run mkdir -p "${lm_stats}"
  run sort -o "${text}" "$(raw "${train_dir}" "${transcript}")" ${more_text[@]+"${more_text[@]}"}
  run ${train_cmd} "${lm_stats}/log/stats.log" python3 -m espnet_sld.bin.espnet espnet2.bin.lm_train \
    --collect_stats true --output_dir "${lm_stats}" --ngpu 0 "${common[@]}" --train_shape_file "${text}" \
    --valid_shape_file "${dev}"
  run ${cuda_cmd} --gpu "${ngpu}" "${lm_exp}/train.log" python3 -m espnet_sld.bin.espnet espnet2.bin.lm_train \
    --output_dir "${lm_exp}" --ngpu "${ngpu}" --seed 0 --resume true "${common[@]}" \
    --train_shape_file "${lm_stats}/train/text_shape" --valid_shape_file "${lm_stats}/valid/text_shape" \
    ${more[@]+"${more[@]}"}
  [ "${dry_run}" = true ] || { cp "${lm_exp}/inputs" "${lm_exp}/finished.tmp"; mv "${lm_exp}/finished.tmp" "${lm_exp}/finished"; }
}
