"""Train a parallel CTC recogniser, taught by a masked LM through decoders that are dropped afterwards.

`train.done.json` in the experiment directory names the content of every input; a finished training with the
same inputs and options returns at once, before torch is imported. Exit code 85: stopped on request.
"""

import sys

from espnet_sld import cli
from espnet_sld.bin import train

HELP = """usage: python -m espnet_sld.bin.train_ctc --config FILE --output_dir DIR [options]

Trains an encoder with CTC at its end and in its middle, and attention decoders beside it that learn a masked
LM's knowledge and are dropped afterwards (interAED-KD and its ablation rows). Options are ESPnet's, on the
command line or in the YAML file of --config; an unknown one is an error. --help_all lists all, --print_config
prints the values in force. The same command again resumes (--resume true); exit code 85: "start me again".

  --input units|fbank          FILE,speech,text is a unit text, or a wav.scp (segments beside it count)
  --train_data_path_and_name_and_type FILE,speech,text and FILE,text,text    (likewise --valid_…)
  --token_type char|bpe|word --token_list tokens.txt --bpemodel bpe.model    what CTC emits, ESPnet's ids
  units: --speech_token_type unit|unigram|bpe --speech_token_path P --num_clusters K --unit_subsampling 1|2|4
  fbank: --frontend_conf fs=16000 … --normalize utterance_mvn|global_mvn|none --normalize_conf …
  --specaug none|specaug --specaug_conf num_time_mask=2 …      on embedded units or filterbanks
  --encoder conformer|transformer|e_branchformer --encoder_conf output_size=256 num_blocks=12 …
  --interctc_layers "3 6 9"    K, 1-based; default: every third block; none. --self_conditioning true|false
  --criterion_conf row=interaed_kd    ctc interctc aed aed_kd interaed interaed_kd ctc_kd; or single weights:
                               ctc_weight (λ) interctc_weight (w) interaed_weight (μ) soft_label_weight (β)
                               ctc_kd_weight (γ), which override the row's
  --soft_labels FILE           the teacher's, of the training set; for rows with a teacher alone
  --shared_decoder false --decoder_conf num_blocks=2 attention_heads=4 linear_units=1024 dropout_rate=0.1
  --ctc_dropout 0.0 --infeasible keep|refuse    utterances with fewer frames than CTC needs; they are listed
  --batch_bins 4000            most padded units or frames of a micro-batch; a step has --accum_grad of them,
                               on all processes together: their number changes neither batches nor loss
  --max_epoch 40 --num_iters_per_epoch N --optim adamw --optim_conf lr=1e-3
  --scheduler warmup_cosine|linear_decay --scheduler_conf warmup_steps=0.1 --grad_clip 5
  --best_model_criterion valid,ter,min --keep_nbest_models 5    greedy token errors, % → valid.ter.ave.pth
  --save_interval_minutes 10 --ngpu 0 --num_nodes 1 --nproc_per_node N --num_workers 0 --seed 0

example:
  python -m espnet_sld.bin.train_ctc --config conf/train.yaml --output_dir exp/interaed_kd --resume true"""


def main(argv: list[str] | None = None) -> int:
    """Train as `argv` says."""
    return train.command(sys.argv[1:] if argv is None else list(argv), HELP, load_task)


def load_task() -> type:
    """`CtcKdTask`; see `bin.train.quietly`."""
    with train.quietly():
        from espnet_sld.tasks.ctc_kd import CtcKdTask
    return CtcKdTask


if __name__ == "__main__":
    cli.run(main)
