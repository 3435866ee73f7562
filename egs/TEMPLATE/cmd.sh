# Where stages run, for every recipe; sourced by its cmd.sh with cmd_backend set.
# Each command is called as `${train_cmd} [--gpu N …] [JOB=1:N] LOG COMMAND…`; utils/run.py --help, utils/slurm.py --help.

case ${cmd_backend} in
  local) # processes of this machine
    export train_cmd="run.py"                # CPU stages
    export cuda_cmd="run.py --grace 60"      # training: so many seconds to save its state when it is told to stop
    export decode_cmd="run.py"               # decoding
    ;;
  slurm) # a cluster: conf/slurm.conf says what sbatch gets for --gpu, --mem, --time …; docs/cluster.md
    export train_cmd="slurm.py"
    export cuda_cmd="slurm.py --signal B:USR1@180"  # training is warned before its time limit: it saves and goes on in a new job
    export decode_cmd="slurm.py"
    ;;
  ssh) # the machines named in .queue/machines of the recipe's folder, which they all see
    export train_cmd="ssh.py"
    export cuda_cmd="ssh.py --grace 60"
    export decode_cmd="ssh.py"
    ;;
  *) echo "cmd.sh: cmd_backend=${cmd_backend}: must be local, slurm or ssh" >&2; exit 1 ;;
esac
