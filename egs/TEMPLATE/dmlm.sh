#!/usr/bin/env bash
# One decoder-only model over speech, text and images (DMLM): recognition, synthesis, translation, captions.
# Stages: 1-5 tokenise speech (tokenize.sh), 6 translations, images, joint text tokens, 7 vocoder, 8 listener (the
# recogniser that judges synthesised speech), 9 lengths, 10 train, 11 generate, 12 score and report.
. ./path.sh
. ./cmd.sh
TEMPLATE=${MAIN_ROOT}/egs/TEMPLATE
. "${TEMPLATE}/common.sh"
. "${TEMPLATE}/tokenize_options.sh"

# begin options
# -- this driver
stop_stage=12             # last stage to run
# -- translations and images
target_lang=de            # language that speech is translated into
translate=local/translate.sh  # called with --text FILE --lang L --out FILE for every set; empty: text.ts.<lang> is there
images=local/images.sh    # writes the image sets; called with --data_dir and image_opts; empty: no images
image_opts=               # options for it; quotes keep spaces together
image_sets="train_digits dev_digits test_digits"  # the first one is for training
image_quantiser=          # a quantiser's directory, e.g. a DALL-E dVAE's; default: k-means over patches is fitted
image_conf="--size 8 --channels 1 --patch 2"  # of that fit
image_codes=64            # size of its codebook, or of the given quantiser's
num_image_tokens=         # image tokens of the model; default: image_codes, without images none. For image tokens
                          # that the mixture names and no stage makes: the size of their codebook
# -- speech output
hifigan=                  # a HiFi-GAN's directory: makes waveforms of the spectra that the vocoder predicts for it;
                          # default: Griffin-Lim
vocoder_args=             # more options of train_vocoder, e.g. "--steps 3000"
listener=                 # a packed recogniser that reads what was synthesised; default: one is trained (stage 8)
listener_config=conf/listener.yaml  # its training; empty: nothing is read
# -- model and training
num_nodes=1               # machines that train together, with ngpu each (on a cluster)
mixture=conf/mixture.yaml # data sets, tasks and weights; @RAW@, @UNITS@, @TEXT@, @TARGET@ stand for dump/raw and the
                          # names of unit text, transcript and translation
dmlm_config=conf/train.yaml  # ESPnet-style training configuration
pretrain_mixture=         # data sets of a training before, e.g. of one task alone; the model starts from what it gives.
                          # Its tokens must be the model's: `specials` in it names task tokens that its own tasks lack
pretrain_args=            # that training's own options; dmlm_config and dmlm_args are its too
dmlm_tag=                 # suffix of the experiment directory; default: from config, mixture, units and seed
dmlm_args=                # more training options, also of that before, e.g. "--criterion_conf lambda_speech=0.5"
backbone=                 # Hugging Face causal LM (OPT, GPT-2, Llama types) to start from; default: the config's
seed=0                    # initialisation, data order, dropout
max_text=150              # longest text in tokens
# -- generating
inference_model=valid.loss.ave.pth  # which checkpoint, chosen on dev
asr_sets=                 # default: dev and test sets; "none": no set
tts_sets=                 # default: dev and the first test set
st_sets=                  # default: as asr_sets
caption_sets=             # default: the image sets but the first
inference_tag=            # suffix of the decodings: asr<tag>, tts<tag> …
report_pages=experiment   # the experiment's report.html; none: no page
# end options
decode_sets=              # sets that a recipe's derive_options chooses
own_options dmlm.sh
command_line="$0 $(printf '%q ' "$@")"
. "${MAIN_ROOT}/utils/parse_options.sh"
check_call "$@"
! declare -F derive_options > /dev/null || derive_options
[ "${text_token_type}" != hf ] || : "${text_tokenizer:=${backbone}}"
. "${TEMPLATE}/names.sh"

translation=text.ts.${target_lang}
read -ra tests <<< "${test_sets}"
read -ra pictures <<< "${image_sets}"
[ -n "${images}" ] || pictures=()
: "${asr_sets:=${decode_sets:-${eval_sets}}}" "${tts_sets:=${dev_set} ${tests[0]:-}}" "${st_sets:=${asr_sets}}"
: "${caption_sets:=${pictures[*]:1}}" "${num_image_tokens:=${images:+${image_codes}}}"
for name in asr_sets tts_sets st_sets caption_sets; do [ "${!name}" != none ] || printf -v "${name}" ''; done
speech_sets=("${train_dir}" "${dev_set}" ${tests[@]+"${tests[@]}"})

# one list for all languages and captions: words by default, else a subword model
joint_dir=${token_lists}/dmlm_${text_token_type}_${lang}_${target_lang}
case ${text_token_type} in
  word | char) joint_path=${joint_dir}/tokens.txt ;;
  unigram | bpe) joint_path=${joint_dir}/bpe.model ;;
  hf) joint_path=${text_token_path} ;;
esac
vocoder=${expdir}/vocoder/${unit_suffix}
if [ -z "${image_quantiser}" ]; then
  fitted=true image_quantiser=${expdir}/image_quantiser/patch_k${image_codes}
else
  fitted=false
fi
if [ -z "${dmlm_tag}" ]; then
  for name in "${dmlm_config}" "${mixture}"; do
    name=$(basename "${name}" .yaml); name=${name#train}; name=${name#mixture}; name=${name#_}
    dmlm_tag+=${name:+${name}_}
  done
  dmlm_tag+=${unit_case}_${unit_token_type}_${unit_suffix}_seed${seed}
fi
# lengths of mixture $1, with the mixture as chosen
stats_of() { echo "${expdir}/dmlm_stats_$(basename "$1" .yaml)_${unit_case}_${unit_token_type}_${unit_suffix}_${text_token_type}"; }
exp=${expdir}/dmlm_${dmlm_tag}
pretrained=${exp}/pretrained
stats=$(stats_of "${mixture}")
one_gpu=$((ngpu > 0 ? 1 : 0)) device=$([ "${ngpu}" -gt 0 ] && echo cuda || echo cpu)

# choose_mixture FILE: the mixture with its placeholders filled in, for its statistics; one that is the same stays.
choose_mixture() {
  local text pair out
  [ -r "$1" ] || die "mixture $1: no such file"
  text=$(< "$1") out=$(stats_of "$1")/mixture.yaml
  for pair in "RAW=${dumpdir}/raw" "DATA=${datadir}" "TRAIN=${train_dir}" "DEV=${dev_set}" "UNITS=${unit_text}" \
    "TEXT=${transcript}" "TARGET=${translation}" "LANG=${target_lang}"; do
    text=${text//"@${pair%%=*}@"/"${pair#*=}"}
  done
  mkdir -p "${out%/*}"
  printf '%s\n' "${text}" > "${out}.tmp"
  if cmp -s "${out}.tmp" "${out}"; then rm "${out}.tmp"; else mv "${out}.tmp" "${out}"; fi
}

# train_mixture DIR MIXTURE OPTION...: train on a mixture whose lengths are counted.
train_mixture() {
  local dir=$1 lengths machines=()
  lengths=$(stats_of "$2")
  shift 2
  if [ "${dry_run}" != true ]; then
    write_run_script "${dir}/run.sh"
    cp "${lengths}/mixture.yaml" "${dir}/mixture.yaml.tmp"  # the statistics' folder serves several experiments
    mv "${dir}/mixture.yaml.tmp" "${dir}/mixture.yaml"
  fi
  [ "${num_nodes}" = 1 ] || machines=(--num_nodes "${num_nodes}")
  run ${cuda_cmd} --gpu "${ngpu}" ${machines[@]+"${machines[@]}"} "${dir}/train.log" python3 -m espnet_sld.bin.train \
    --config "${dmlm_config}" --output_dir "${dir}" --ngpu "${ngpu}" --seed "${seed}" --resume true "${tokens[@]}" \
    --mixture "${lengths}/mixture.yaml" --mixture_stats "${lengths}" ${machines[@]+"${machines[@]}"} "$@"
}

# In a function, so that bash has read it all before it begins: the file may change while stages run.
stages() {
  tokenise

  if wanted 6 "translations, images, joint text tokens"; then
    if [ -n "${translate}" ]; then
      makes "${dumpdir}/raw" "${translation}" "${speech_sets[@]}"
      for name in "${speech_sets[@]}"; do
        run ${train_cmd} "$(raw "${name}" log/translate.log)" "${translate}" \
          --text "$(raw "${name}" "${transcript}")" --lang "${target_lang}" --out "$(raw "${name}" "${translation}")"
      done
    fi
    texts=("$(raw "${train_dir}" "${transcript}")" "$(raw "${train_dir}" "${translation}")")
    if [ -n "${images}" ]; then
      split_words more "${image_opts}"
      run ${train_cmd} "$(raw "${pictures[0]}" log/prepare.log)" "${images}" --data_dir "${datadir}" ${more[@]+"${more[@]}"}
      if [ "${fitted}" = true ]; then
        split_words more "${image_conf}"
        makes "${image_quantiser%/*}" fit.done.json "${image_quantiser##*/}"
        run ${train_cmd} "${image_quantiser}/log/fit.log" python3 -m espnet_sld.bin.fit_image_quantiser \
          --images "${datadir}/${pictures[0]}" --codebook_size "${image_codes}" --out_dir "${image_quantiser}" ${more[@]+"${more[@]}"}
      fi
      makes "${dumpdir}/raw" image_tokens.done.json "${pictures[@]}"
      for name in "${pictures[@]}"; do
        run ${train_cmd} "$(raw "${name}" log/images.log)" python3 -m espnet_sld.bin.quantise_images \
          --images "${datadir}/${name}" --quantiser "${image_quantiser}" --out "$(raw "${name}" image_tokens)"
      done
      texts+=("${datadir}/${pictures[0]}/text")
    fi
    if [ "${text_token_type}" != hf ]; then
      size=0; [[ ${text_token_type} == word || ${text_token_type} == char ]] || size=${text_nbpe}
      makes "${token_lists}" tokens.txt "${joint_dir##*/}"
      run ${train_cmd} --num-threads 4 "${token_lists}/log/${joint_dir##*/}.log" python3 -m espnet_sld.bin.train_subword \
        --input "${texts[@]}" --kind text --model_type "${text_token_type}" --vocab_size "${size}" --out_dir "${joint_dir}"
    fi
  fi

  if wanted 7 "vocoder ${vocoder}" && [ -n "${tts_sets}" ]; then
    makes "${expdir}/vocoder" train.done.json "${unit_suffix}"
    audio=${dumpdir}/raw/org/${train_set}; [ -z "${speed_perturb_factors}" ] || audio=${dumpdir}/raw/${train_dir}
    split_words more "${vocoder_args}"
    run ${cuda_cmd} --gpu "${one_gpu}" "${vocoder}/train.log" python3 -m espnet_sld.bin.train_vocoder \
      --data_dir "${audio}" --units "$(raw "${train_dir}" "text.ts.${unit_suffix}")" --kmeans_dir "${kmeans_dir}" \
      --out_dir "${vocoder}" --device "${device}" --allow_pipes "${allow_pipes}" --channels "${channels}" \
      ${hifigan:+--hifigan "${hifigan}"} ${more[@]+"${more[@]}"}
  fi

  if wanted 8 "listener" && [ -n "${tts_sets}" ] && [ -z "${listener}" ] && [ -n "${listener_config}" ]; then
    makes "${expdir}/packed" manifest.json asr_sld_listener
    options_but stage skip_stages  # which have other numbers there
    driver_stage=8 "${TEMPLATE}/asr_sld.sh" "${passed[@]}" --stage 6 --stop_stage 10 --asr_config "${listener_config}" \
      --asr_tag listener --inference_config conf/decode_asr.yaml --max_text "${max_text}" --decode_sets "${dev_set}" --report_pages none
  fi
  if [ -z "${listener}" ] && [ -n "${listener_config}" ]; then listener=${expdir}/packed/asr_sld_listener; fi

  tokens=(--speech_token_type "${unit_token_type}" --speech_token_path "${unit_token_path}"
    --num_clusters "${nclusters}" --text_token_type "${text_token_type}" --text_token_path "${joint_path}"
    --max_positions "${max_positions}" --max_text "${max_text}"
    ${num_image_tokens:+--num_image_tokens "${num_image_tokens}"})

  mixtures=(${pretrain_mixture:+"${pretrain_mixture}"} "${mixture}")
  # for stage 10 too: a mixture may have been edited since its lengths were counted
  if [ "${stage}" -le 10 ] && [ "${stop_stage}" -ge 9 ] && [ "${dry_run}" != true ]; then
    for name in "${mixtures[@]}"; do choose_mixture "${name}"; done
  fi

  if wanted 9 "lengths of the mixture's data sets"; then
    for name in "${mixtures[@]}"; do
      out=$(stats_of "${name}")
      makes "${out}" shapes.done.json 'train/*' 'valid/*'
      run ${train_cmd} "${out}/log/lengths.log" python3 -m espnet_sld.bin.collect_mixture --out_dir "${out}" "${tokens[@]}" \
        --mixture "${out}/mixture.yaml"
    done
  fi

  if wanted 10 "train ${exp}"; then
    split_words more "${dmlm_args}"
    start=(${backbone:+--backbone_source "${backbone}"})
    if [ -n "${pretrain_mixture}" ]; then
      makes "${exp}" train.done.json "${pretrained##*/}"
      split_words first "${pretrain_args}"
      train_mixture "${pretrained}" "${pretrain_mixture}" ${start[@]+"${start[@]}"} ${first[@]+"${first[@]}"} ${more[@]+"${more[@]}"}
      start+=(--init_param "${pretrained}/${inference_model}:model:model")
    fi
    makes "${expdir}" train.done.json "${exp##*/}"
    train_mixture "${exp}" "${mixture}" ${start[@]+"${start[@]}"} ${more[@]+"${more[@]}"}
  fi

  generate() {  # task, field's file, sets; each decoded once
    local task=$1 source=$2 name out dur
    shift 2
    makes "${exp}/${task}${inference_tag}" decode.done.json "$@"
    for name in "$@"; do
      out=${exp}/${task}${inference_tag}/${name}
      dur=(); [ "${source}" != "${unit_text}" ] || dur=(--utt2dur "$(raw "${name}" utt2dur)")
      run ${decode_cmd} --gpu "${one_gpu}" "${out}/log/generate.log" python3 -m espnet_sld.bin.generate \
        --exp_dir "${exp}" --checkpoint "${inference_model}" --task "${task}" --source "$(raw "${name}" "${source}")" \
        --config "conf/decode_${task}.yaml" --mixture_stats "${stats}" --seed "${seed}" --ngpu "${one_gpu}" \
        --out_dir "${out}" ${language[@]+"${language[@]}"} ${dur[@]+"${dur[@]}"}
    done
  }
  if wanted 11 "generate"; then
    language=()
    generate asr "${unit_text}" ${asr_sets}
    generate tts "${transcript}" ${tts_sets}
    generate caption image_tokens ${caption_sets}
    language=(--language "${target_lang}")
    generate st "${unit_text}" ${st_sets}
  fi

  if wanted 12 "synthesise, score and report"; then
    for task in asr st caption ${listener:+tts}; do
      name=${task}_sets
      makes "${exp}/${task}${inference_tag}" result.json ${!name}
    done
    makes "${exp}/tts${inference_tag}" speech/synthesis.done.json ${tts_sets}
    for name in ${asr_sets}; do
      out=${exp}/asr${inference_tag}/${name}
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/text" \
        --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/decode.json" --out_dir "${out}"
    done
    for name in ${st_sets}; do
      out=${exp}/st${inference_tag}/${name}
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score_bleu --hyp "${out}/text" \
        --ref "$(raw "${name}" "${translation}")" --out_dir "${out}"
    done
    for name in ${caption_sets}; do
      out=${exp}/caption${inference_tag}/${name}
      labels=(); [ ! -f "${datadir}/${name}/labels" ] || labels=(--labels "${datadir}/${name}/labels")
      run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score_caption --hyp "${out}/text" \
        --captions "${datadir}/${name}/captions.tsv" ${labels[@]+"${labels[@]}"} --out_dir "${out}"
    done
    for name in ${tts_sets}; do
      out=${exp}/tts${inference_tag}/${name}
      run ${train_cmd} "${out}/log/synthesise.log" python3 -m espnet_sld.bin.synthesise --units "${out}/units" \
        --unit_case "${unit_case}" --vocoder "${vocoder}" --text "$(raw "${name}" "${transcript}")" \
        --seed "${seed}" ${hifigan:+--hifigan "${hifigan}"} --out_dir "${out}/speech"
      run ${train_cmd} "${out}/log/distance.log" python3 -m espnet_sld.bin.score_speech --ref "${dumpdir}/raw/org/${name}" \
        --hyp "${out}/speech" --decode_json "${out}/decode.json" --out "${out}/speech.json" --skip "${out}/speech/synthesis.json" \
        --allow_pipes "${allow_pipes}" --channels "${channels}"
      if [ -n "${listener}" ]; then
        run ${decode_cmd} --gpu "${one_gpu}" "${out}/log/listen.log" python3 -m espnet_sld.bin.listen \
          --model "${listener}" --data_dir "${out}/speech" --device "${device}" --out "${out}/heard"
        run ${train_cmd} "${out}/log/score.log" python3 -m espnet_sld.bin.score --hyp "${out}/heard" \
          --ref "$(raw "${name}" "${transcript}")" --decode_json "${out}/speech.json" --out_dir "${out}"
      fi
    done
    run python3 -m espnet_sld.bin.dmlm_results --exp_dir "${exp}"
    [ "${report_pages}" = none ] || run ${train_cmd} "${exp}/log/report.log" python3 -m espnet_sld.bin.report --exp_dir "${exp}" --recipe_dir .
  fi
}
stages; exit  # one line: nothing is read after the stages
