"""Train a decoder-only model: ESPnet's options and YAML, our task."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from espnet_sld import cli
from espnet_sld.errors import REQUEUE
from espnet_sld.tasks.identity import TrainingRecord
from espnet_sld.tasks.interruption import StopTraining, listening

HELP = """usage: python -m espnet_sld.bin.train --config FILE --output_dir DIR [options]

Trains a decoder-only language model on unit text and transcripts. Options are ESPnet's, on the command line
or in the YAML file of --config; an unknown one is an error. --help_all lists all, --print_config prints the
values in force. Running the same command again resumes (--resume true) at the step that was saved last.
USR1, TERM or Ctrl-C: the step is finished, the state saved, and the exit code 85 says "start me again".

  --train_data_path_and_name_and_type FILE,speech,text and FILE,text,text    (likewise --valid_…)
  --mixture FILE               instead: YAML of data sets with their tasks and weights (docs: --help of
                               bin.collect_mixture), with --criterion modality --num_image_tokens V_i
  --train_shape_file FILE      lengths of whole sequences (bin.collect_shapes); default: encode all first
  --text_token_type T --text_token_path P  --speech_token_type T --speech_token_path P --num_clusters K
  --max_positions 1024 --max_text 150      longest sequence, longest transcript, in tokens
  --backbone_source DIR | --backbone_conf model_type=llama …     pretrained or from scratch
  --criterion speech_text --criterion_conf objective=sld
  --batch_bins 4000            most padded tokens of a micro-batch; a step has --accum_grad of them, on all
                               processes together: their number changes neither batches nor loss
  --max_epoch 40 --num_iters_per_epoch N     N micro-batches an epoch; default: one pass
  --optim adamw --optim_conf lr=2e-3 --scheduler warmup_cosine|linear_decay --scheduler_conf warmup_steps=0.1
  --time_mask_prob 0.0 --mask_dev false --dropout 0.1 --attention_dropout 0.1 --residual_dropout 0.1
  --curriculum_portion 1.0 --curriculum_steps 0     shortest share first; steps below 1: share of all
  --best_model_criterion valid,ce_text,min --keep_nbest_models 5 --patience N --init_param FILE
  --save_interval_minutes 10 --save_interval_steps N     when the state is saved within an epoch
  --ngpu 0 --num_nodes 1 --nproc_per_node N --use_amp false --num_workers 0 --seed 0 --log_interval N

example:
  python -m espnet_sld.bin.train --config conf/train.yaml --output_dir exp/asr_sld_mini --resume true"""


def main(argv: list[str] | None = None) -> int:
    """Train as `argv` says."""
    return command(sys.argv[1:] if argv is None else list(argv), HELP, load_task)


def command(argv: Sequence[str], usage: str, load: Callable[[], type]) -> int:
    """The command line of a training: `load` imports its task when it is needed."""
    argv = list(argv)
    if not argv or {"-h", "--help"} & set(argv):
        print(usage)
        return 0
    with listening():
        return _train(argv, load)


def _train(argv: list[str], load: Callable[[], type]) -> int:
    record = TrainingRecord(argv)
    if record.finished():
        logging.info("%s: the training is finished and its inputs are unchanged", record.directory)
        return 0
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    task = load()
    if "--help_all" in argv:
        task.get_parser().print_help()
        return 0
    record.begin()
    try:
        task.main(cmd=argv)
    except StopTraining as stop:
        logging.info("%s%s", stop, "" if record.resume else " (with --resume true)")
        return REQUEUE
    record.end()
    return 0


def load_task() -> type:
    """`DecoderOnlyTask`; see `quietly`."""
    with quietly():
        from espnet_sld.tasks.decoder_only import DecoderOnlyTask
    return DecoderOnlyTask


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Import without ESPnet's remarks about packages that are not used here."""
    logging.disable(logging.WARNING)
    try:
        # some of ESPnet's modules print, which would stand before --print_config's YAML
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    cli.run(main)
