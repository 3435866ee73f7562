#!/usr/bin/env bash
# Stages 1-5: a corpus becomes discrete units, subword models and token lists, in ESPnet asr2's file layout.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"
# begin options
# -- this driver
stop_stage=5              # last stage to run
# end options
option_files=("${TEMPLATE}/tokenize_options.sh" "${TEMPLATE}/tokenize.sh")
. "${MAIN_ROOT}/utils/parse_options.sh"
check_call "$@"
. "${TEMPLATE}/names.sh"

org=${dumpdir}/raw/org
sets=("${train_dir}" "${dev_set}")
read -ra tests <<< "${test_sets}"
for name in ${tests[@]+"${tests[@]}"}; do
  [[ " ${sets[*]} " == *" ${name} "* ]] || sets+=("${name}")
done
split_words corpus_args "${corpus_opts}"
compute=(${train_cmd}) device=cpu
if [[ ${kmeans_feature} == */* ]] && [ "${ngpu}" -gt 0 ]; then
  compute=(${decode_cmd} --gpu 1) device=cuda              # a job has one GPU
fi

# where a set's recordings are described
audio_dir() {
  if [ -n "${speed_perturb_factors}" ] && [ "$1" = "${train_dir}" ]; then
    echo "${dumpdir}/raw/$1"
  else
    echo "${org}/$1"
  fi
}

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  if wanted 1 "corpus to data directories"; then
    makes "${org}" utt2spk "${train_set}" "${dev_set}" ${tests[@]+"${tests[@]}"}
    run env nj="${nj}" "${corpus}" --data_dir "${datadir}" ${corpus_args[@]+"${corpus_args[@]}"}
    for name in "${train_set}" "${dev_set}" ${tests[@]+"${tests[@]}"}; do
      run python3 -m espnet_sld.bin.data_dir combine "${org}/${name}" "${datadir}/${name}" --allow_pipes "${allow_pipes}"
    done
  fi

  if wanted 2 "speed perturbation ${speed_perturb_factors:-(none)}"; then
    if [ -n "${speed_perturb_factors}" ]; then
      makes "${dumpdir}/raw" utt2spk "${train_dir}"
      run python3 -m espnet_sld.bin.speed_perturb --in_dir "${org}/${train_set}" \
        --out_prefix "${dumpdir}/raw/${train_set}" --factors "${speed_perturb_factors}" --allow_pipes "${allow_pipes}"
    fi
  fi

  if wanted 3 "k-means, ${nclusters} clusters of ${kmeans_feature}"; then
    makes "${expdir}/kmeans" "km_${nclusters}.json" "${kmeans_dir##*/}"
    if [ -n "${tokenizer}" ]; then
      run python3 -m espnet_sld.bin.unpack --pack "${tokenizer}" --kmeans_dir "${kmeans_dir}" \
        --token_lists "${token_lists}" --frontend_dir "${expdir}/frontend"
    else
      run "${compute[@]}" "${kmeans_dir}/log/kmeans.log" \
        python3 -m espnet_sld.bin.fit_kmeans --data_dir "${org}/${train_set}" "${frontend[@]}" \
        --num_clusters "${nclusters}" --max_frames "${kmeans_max_frames}" --seed "${kmeans_seed}" \
        ${kmeans_hours:+--hours "${kmeans_hours}"} --kmeans_backend "${kmeans_backend}" \
        --algorithm "${kmeans_algorithm}" --device "${device}" ${batch_seconds:+--batch_seconds "${batch_seconds}"} \
        --allow_pipes "${allow_pipes}" --channels "${channels}" --out_dir "${kmeans_dir}"
    fi
  fi

  if wanted 4 "units of ${sets[*]}"; then
    makes "${dumpdir}/raw" "${unit_suffix}.done.json" "${sets[@]}"
    for name in "${sets[@]}"; do
      run "${compute[@]}" JOB=1:"${nj}" "${extracted}/${name}/log/units.JOB.log" \
        python3 -m espnet_sld.bin.extract_units --data_dir "$(audio_dir "${name}")" "${frontend[@]}" \
        --kmeans_dir "${kmeans_dir}" --out_dir "${extracted}/${name}" --num_shards "${nj}" --shard JOB \
        --device "${device}" ${speed_on:+--speed_on "${speed_on}"} \
        ${batch_seconds:+--batch_seconds "${batch_seconds}"} \
        --allow_pipes "${allow_pipes}" --channels "${channels}"
      run python3 -m espnet_sld.bin.gather_units --data_dir "$(audio_dir "${name}")" \
        --out_dir "${extracted}/${name}" --num_shards "${nj}" \
        --dump_dir "${dumpdir}/raw/${name}" --suffix "${unit_suffix}" --lang "${lang}" \
        --lm_train "$([ "${name}" != "${train_dir}" ] || echo "${dumpdir}/raw/lm_train.txt")"
    done
  fi

  if wanted 5 "subword models, token lists, report of the units"; then
    makes "${token_lists}" tokens.txt "${unit_piece_dir##*/}" "${text_piece_dir##*/}" "word_${lang}" "char_${lang}"
    makes "${unit_report_dir%/*}" report.done.json "${unit_report_dir##*/}"
    train_raw=${dumpdir}/raw/${train_dir}
    subword() {                                          # what a packed tokeniser brought stays
      [ -n "${tokenizer}" ] && [ -f "${!#}/tokens.txt" ] ||
        run ${train_cmd} --num-threads 4 "${token_lists}/log/$(basename "${!#}").log" python3 -m espnet_sld.bin.train_subword "$@"
    }
    subword --input "${train_raw}/${unit_text}" --kind unit --model_type "${unit_piece_type}" \
      --vocab_size "${unit_nbpe}" --out_dir "${unit_piece_dir}"
    subword --input "${train_raw}/${transcript}" --kind text --model_type "${text_piece_type}" \
      --vocab_size "${text_nbpe}" --out_dir "${text_piece_dir}"
    subword --input "${train_raw}/${transcript}" --kind text --model_type word --out_dir "${token_lists}/word_${lang}"
    subword --input "${train_raw}/${transcript}" --kind text --model_type char --out_dir "${token_lists}/char_${lang}"
    run ${train_cmd} "${unit_report_dir}/log/report.log" \
      python3 -m espnet_sld.bin.unit_report --set_dirs "${sets[@]/#/${dumpdir}/raw/}" --suffix "${unit_suffix}" \
      --unit_case "${unit_case}" --token_type "${unit_token_type}" --token_path "${unit_token_path}" \
      --num_clusters "${nclusters}" --lang "${lang}" --text_token_type "${text_token_type}" \
      --text_token_path "${text_token_path}" --max_positions "${max_positions}" \
      --extracted_dir "${extracted}" --nj "${nj}" --out_dir "${unit_report_dir}"
  fi
}
stages; exit  # one line: nothing is read after the stages
