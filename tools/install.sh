#!/usr/bin/env bash
# Set up .venv with exactly the packages of tools/cpu.lock or tools/gpu.lock, and this package.
# Run it again after an interruption: what is installed is kept. When all is there it returns at once.
# With ESPNET_SLD_VENV=DIR in the environment, .venv becomes a link to that environment (made if there is none),
# and only what is missing there is installed.
set -euo pipefail
# begin options
torch_backend=auto  # cpu, cu126, cu130 or auto: the GPU lock where nvidia-smi works, else the CPU lock.
                    # cu130 needs driver 580 or later and a GPU newer than V100; cu126 serves the others
python=             # interpreter to build .venv with; empty: the first of python3.11, python3.12, python3 that fits
use_uv=true         # install with uv (put into the environment by pip); false: pip alone, slower
# end options
here="$(dirname "${BASH_SOURCE[0]}")"
. "${here}/../utils/log.sh"
. "${here}/../utils/parse_options.sh"
cd "${here}/.."
[ $# -eq 0 ] || die "unexpected argument: $*"
case "${torch_backend}" in
    cpu|cu126|cu130|auto) ;;
    *) die "--torch_backend takes cpu, cu126, cu130 or auto, not '${torch_backend}'" ;;
esac

pytorch_index=https://download.pytorch.org/whl
torch_version="$(sed -n 's/^torch==//p' tools/cpu.lock)"
resume="run 'tools/install.sh' (or make) again to go on; what is installed is kept"

say() { printf 'install: %s\n' "$*"; }

# One installation at a time in a checkout.
if command -v flock > /dev/null; then
    exec 9< tools/cpu.lock
    flock -n 9 || { say "another installation runs here; waiting for it"; flock 9; }
fi

digest() { cat tools/{cpu,gpu}.lock tools/uv.txt setup.py espnet_sld/version.py | cksum | tr ' ' '-'; pwd -P; }

installed_already() {
    [ -f .venv/.installed ] && [ ! -L .venv ] && [ -z "${ESPNET_SLD_VENV:-}" ] && [ -x .venv/bin/python ] &&
        [ "$(sed 1d .venv/.installed)" = "$(digest)" ] &&
        { [ "${torch_backend}" = auto ] || [ "$(sed -n 1p .venv/.installed)" = "${torch_backend}" ]; }
}

# Version of an interpreter as 3.11; nothing where it does not run (a pyenv shim, say).
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null || true; }

find_python() {
    local candidate version seen="" without_venv=""
    for candidate in ${python:-python3.11 python3.12 python3}; do
        command -v "${candidate}" > /dev/null || continue
        version="$(version_of "${candidate}")"
        case "${version}" in
            3.11|3.12) ;;
            *) seen="${seen} ${candidate} (${version:-does not run})"; continue ;;
        esac
        if "${candidate}" -c 'import ensurepip, venv' 2> /dev/null; then
            found_python="${candidate}"
            return
        fi
        without_venv="${without_venv:-${version}}"
    done
    if [ -n "${without_venv}" ]; then
        die "Python ${without_venv} is here, but without its module venv. Install the package" \
            "python${without_venv}-venv (Debian, Ubuntu: apt install python${without_venv}-venv), then run this again"
    fi
    die "no Python 3.11 or 3.12 found; seen:${seen:- none}. Install one (Debian, Ubuntu: apt install python3.11" \
        "python3.11-venv; conda: conda create -n py311 python=3.11), or name it: tools/install.sh --python PATH"
}

make_environment() {
    local directory="${ESPNET_SLD_VENV:-}"
    if [ -n "${directory}" ]; then
        if [ -d .venv ] && [ ! -L .venv ]; then
            [ "$(cd .venv && pwd -P)" = "$(cd "${directory}" 2> /dev/null && pwd -P)" ] ||
                die "ESPNET_SLD_VENV is set, but .venv is an environment of its own; remove .venv or unset the variable"
        else
            mkdir -p "${directory}"
            ln -sfn "$(cd "${directory}" && pwd -P)" .venv
        fi
    elif [ -L .venv ] && [ ! -e .venv ]; then
        die ".venv is a link to $(readlink .venv), which is gone; remove .venv, or set ESPNET_SLD_VENV"
    fi
    if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2> /dev/null; then
        case "$(version_of .venv/bin/python)" in
            3.11|3.12) ;;
            *) die "$(cd .venv && pwd -P) has Python $(version_of .venv/bin/python); 3.11 or 3.12 is needed" ;;
        esac
        [ -n "${uv}" ] || .venv/bin/python -m pip --version > /dev/null 2>&1 ||
            .venv/bin/python -m ensurepip --upgrade > /dev/null || die "pip cannot be set up in .venv; remove .venv"
        return
    fi
    if [ -d .venv/ ] && [ ! -f .venv/pyvenv.cfg ] && [ -n "$(ls -A .venv/)" ]; then
        die "$(cd .venv && pwd -P) is no Python environment; remove it or name another with ESPNET_SLD_VENV"
    fi
    find_python
    say "making .venv with $(command -v "${found_python}") ($("${found_python}" --version 2>&1))"
    "${found_python}" -m venv --clear "$(cd .venv 2> /dev/null && pwd -P || echo .venv)" ||
        die "'${found_python} -m venv .venv' failed, see above; Debian and Ubuntu need the package python3.X-venv"
}

# pip's settings, for uv.
read_settings() {
    local key value
    mapfile -t uv_arguments < <(.venv/bin/python tools/pip_settings.py)
    for key in cert:SSL_CERT_FILE proxy:ALL_PROXY timeout:UV_HTTP_TIMEOUT; do
        value="$(.venv/bin/python tools/pip_settings.py --key "${key%%:*}")"
        key="${key#*:}"
        if [ -n "${value}" ] && [ -z "${!key:-}" ]; then export "${key}=${value}"; fi
    done
    if [ -n "${uv}" ] || ! "${use_uv}"; then return; fi
    if .venv/bin/python -m pip install -qq --disable-pip-version-check -r tools/uv.txt; then
        uv="$(pwd)/.venv/bin/uv"
    else
        say "uv is not to be had; pip installs instead (slower)"
    fi
}

# Everything that is installed passes here.
install() {
    if [ -n "${uv}" ]; then
        local quiet=()
        [ -t 2 ] || quiet=(--quiet)                         # progress on a terminal only; errors always
        "${uv}" pip install --compile-bytecode "${quiet[@]}" --python .venv/bin/python "${uv_arguments[@]}" "$@"
    else
        .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off "$@"
    fi
}

obtainable() { install --dry-run --no-deps "$@" > /dev/null 2>&1; }

# A short answer from PyTorch's index, so that a machine without network does not wait.
reachable() {
    .venv/bin/python - "$1" << 'PYTHON' 2> /dev/null
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=5)
PYTHON
}

# The backend that this machine's driver and GPUs allow.
detect_backend() {
    local gpus driver
    if ! gpus="$(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2> /dev/null)" ||
        [ -z "${gpus}" ]; then
        torch_backend=cpu
        return
    fi
    driver="${gpus%%.*}"
    torch_backend=cu130
    if [ "${driver}" -lt 580 ] || awk -F, '$2 + 0 < 7.5 { old = 1 } END { exit !old }' <<< "${gpus}"; then
        torch_backend=cu126
    fi
    say "NVIDIA driver ${driver}: --torch_backend ${torch_backend}"
}

# Sets lock, torch_requirement, extra (arguments), what to expect (size) and the free GB to ask for (large).
choose_torch() {
    lock=tools/cpu.lock torch_requirement="torch==${torch_version}" extra=() large=2
    size="about 40 s with uv, 2 min with pip (more on a slow line), 2.0 GB"
    local gpu_size="about 1 min with uv, 4 min with pip (more on a slow line), 5.3 GB"
    case "${torch_backend}" in
        cpu)
            [ "$(uname -s)" = Linux ] || return 0           # elsewhere PyPI's build is the CPU build
            torch_requirement="torch==${torch_version}+cpu"
            if obtainable "${torch_requirement}"; then return; fi
            extra=(--extra-index-url "${pytorch_index}/cpu")
            if reachable "${pytorch_index}/cpu/" && obtainable "${extra[@]}" "${torch_requirement}"; then return; fi
            say "no CPU build of torch ${torch_version} to be had here: taking PyPI's, which runs on CPUs too but is larger"
            lock=tools/gpu.lock torch_requirement="torch==${torch_version}" extra=() size="${gpu_size}" large=6 ;;
        cu126)
            # Not in the lock: torch and its CUDA libraries come from PyTorch's own index.
            torch_requirement="torch==${torch_version}+cu126" extra=(--extra-index-url "${pytorch_index}/cu126")
            size="${gpu_size}" large=6
            obtainable "${extra[@]}" "${torch_requirement}" ||
                die "torch ${torch_version} for CUDA 12.6 (this driver or GPU is too old for 13) is not to be had from" \
                    "${pytorch_index}/cu126; use --torch_backend cpu, or cu130 after a driver update" ;;
        cu130) lock=tools/gpu.lock size="${gpu_size}" large=6 ;;
    esac
}

install_lock() {
    local requirements free
    requirements="$(mktemp)"
    # shellcheck disable=SC2064
    trap "rm -f '${requirements}'" EXIT
    if [ -L .venv ]; then
        .venv/bin/python tools/check_install.py --missing > "${requirements}"
        say "missing in $(readlink .venv): $(tr '\n' ' ' < "${requirements}")"
    fi
    [ "${torch_backend}" != auto ] || detect_backend
    choose_torch
    if [ ! -L .venv ]; then
        grep -v '^#' "${lock}" > "${requirements}"
        free="$(df -Pk .venv/ | awk 'NR == 2 { print int($4 / 1048576) }')"
        [ -e .venv/.started ] || [ "${free}" -ge "${large}" ] ||
            die "${large} GB are needed, ${free} GB free in $(pwd); free some, or set ESPNET_SLD_VENV to a folder elsewhere"
        touch .venv/.started
        say "$(wc -l < "${requirements}") packages of ${lock}, ${torch_requirement}: ${size}"
    elif grep -q '^torch==' "${requirements}" && [ "${lock}" = tools/gpu.lock ]; then
        grep -E '^(nvidia|cuda)-|^triton==|^torchaudio==' "${lock}" >> "${requirements}"
    fi
    if [ "${torch_backend}" = cu126 ] && grep -q '^torch==' "${requirements}"; then
        install "${extra[@]}" "${torch_requirement}" || die "torch could not be installed; ${resume}"
    fi
    sed -i "s/^torch==.*/${torch_requirement}/" "${requirements}"
    install --no-deps "${extra[@]}" -r "${requirements}" && return
    if [ -n "${uv}" ]; then
        say "uv did not manage, see above; pip tries the same"
        uv=""
        install --no-deps "${extra[@]}" -r "${requirements}" && return
    fi
    die "the packages could not be installed, see above. Is there a network, or an index in pip's settings" \
        "('pip config list')? When there is, ${resume}"
}

# The package itself, editable. Another checkout's entry in a shared environment is left; path.sh and make name ours.
install_package() {
    if [ -L .venv ] && (cd / && "${OLDPWD}/.venv/bin/python" -c 'import espnet_sld' 2> /dev/null); then return; fi
    local options=(--no-deps --no-build-isolation)
    [ -n "${uv}" ] || options+=(--use-pep517)
    install "${options[@]}" --quiet -e . && return
    [ -L .venv ] && { say "cannot write to $(readlink .venv); path.sh and make find the package all the same"; return; }
    die "the package itself could not be installed; ${resume}"
}

if installed_already; then exit 0; fi
uv=""
if "${use_uv}" && command -v uv > /dev/null; then uv="$(command -v uv)"; fi
make_environment
# Nothing to do in a complete shared environment: no network is asked.
if [ -L .venv ] && [ -z "$(.venv/bin/python tools/check_install.py --missing)" ]; then
    install_package
    say ".venv is a link to $(readlink .venv), which has every package"
    exit 0
fi
read_settings
install_lock
install_package
.venv/bin/python tools/check_install.py --quiet || die "the environment is not complete, see above; ${resume}"
[ -L .venv ] || { printf '%s\n' "${torch_backend}"; digest; } > .venv/.installed
say "done: .venv ($(du -shL .venv | cut -f1)). See .venv/bin/python tools/check_install.py"
