# Environment of every recipe; sourced by its path.sh with MAIN_ROOT set.
export MAIN_ROOT
export LC_ALL=C PYTHONIOENCODING=utf-8
export PATH=${MAIN_ROOT}/utils:${PATH}
export PYTHONPATH=${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ -x "${MAIN_ROOT}/.venv/bin/python3" ]; then
  export PATH=${MAIN_ROOT}/.venv/bin:${PATH}
fi
