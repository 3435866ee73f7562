#!/usr/bin/env bash
# Remake tools/{gpu,cpu}.lock from setup.py. Needs uv. The locks are what users install; nothing is resolved on their machines.
set -euo pipefail
cd "$(dirname "$0")/.."
common=(setup.py --extra all --override tools/overrides.txt --constraint tools/constraints.txt
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header --upgrade)
header() { printf '# Made by `make lock` from setup.py, for %s. Do not edit; install with --no-deps.\n' "$1"; }

compiled=$(mktemp); trap 'rm -f "${compiled}"' EXIT
uv pip compile "${common[@]}" -o "${compiled}" --quiet
{ header "NVIDIA GPUs"; grep -v '^ *#' "${compiled}"; } > tools/gpu.lock
: > "${compiled}"
uv pip compile "${common[@]}" --override tools/overrides-cpu.txt -o "${compiled}" --quiet
# What only CUDA builds of torch load.
{ header "CPUs"; grep -Ev '^ *#|^(nvidia|cuda)-|^triton==|^torchaudio' "${compiled}"; } > tools/cpu.lock
wc -l tools/*.lock
