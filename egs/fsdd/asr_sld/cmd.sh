# Where stages run. local: processes on this machine.
cmd_backend=${cmd_backend:-local}

case ${cmd_backend} in
  local)
    export train_cmd="run.py"     # CPU stages
    export cuda_cmd="run.py"      # training
    export decode_cmd="run.py"    # decoding
    ;;
  *) echo "cmd.sh: cmd_backend=${cmd_backend}: only local is available" >&2; exit 1 ;;
esac
