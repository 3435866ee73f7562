# Where stages run: local (this machine), slurm (a cluster: conf/slurm.conf) or ssh (.queue/machines). The
# environment wins: cmd_backend=slurm ./run.sh
cmd_backend=${cmd_backend:-local}

. "${MAIN_ROOT}/egs/TEMPLATE/cmd.sh"  # sets train_cmd, cuda_cmd, decode_cmd; change them below
