#!/usr/bin/env bash
# Makes .venv with the pinned versions of everything, or does nothing when it is ready.
#
# .venv/.svformer-setup records where and from which pins .venv was finished. Other pins: updated in place. An
# interrupted set-up, another folder or another Python: made anew; pip keeps what it has downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MARK=.venv/.svformer-setup
readonly PIP=(.venv/bin/python -m pip --disable-pip-version-check)
readonly LOG=.venv/set-up.log
readonly CONSTRAINTS=requirements/constraints.txt
readonly WITHOUT_DEPS=requirements/without-deps.txt
readonly CHECK='import av, h5py, nir, norse.torch, numba, tonic, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
print(f"torch {torch.__version__}, GPU: {gpu}")'
readonly PYTHON=${PYTHON:-} TORCH_INDEX=${TORCH_INDEX:-}

die() {
    echo "set-up: $1" >&2
    exit 2
}

stage() {
    current=$1
    echo "== set-up: $current"
}

# What pip says goes into a log; shown are the downloads of 10 MB and more, warnings and errors.
install_quietly() {
    local large='s/^ *Downloading ([^ ]*\/)?([^ ]+) \(([0-9]{2,}(\.[0-9]+)? MB|[0-9.]+ GB)\)$/   downloads \2, \3/p'
    if ! "${PIP[@]}" install --log "$LOG" --progress-bar off "$@" | sed -unE "$large"; then
        echo "set-up: all that pip said is in $LOG" >&2
        return 1
    fi
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11)
    [[ -z $PYTHON ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.11 to 3.13 with venv found, tried ${candidates[*]}; install one (Debian: apt install python3-venv) \
or name it: make demo PYTHON=/path/to/python3.12"
}

# ready, outdated (update in place) or unusable (make anew)
state_of_venv() {
    local mark
    [[ -e .venv ]] || { echo unusable; return; }
    [[ -e $MARK ]] || die ".venv exists and is not of this project; move it away and run the same command again"
    mark=$(<"$MARK")
    if [[ $mark != "$PWD "* || -z $(version_of .venv/bin/python) ]]; then
        echo unusable
    elif [[ -n $PYTHON && $(version_of "$PYTHON") != $(version_of .venv/bin/python) ]]; then
        echo unusable
    elif [[ $mark == "$PWD $pins" ]]; then
        echo ready
    else
        echo outdated
    fi
}

make_venv() {
    stage "1/5 .venv with Python $(version_of "$1")"
    rm -rf .venv
    mkdir .venv
    echo unfinished >"$MARK"
    "$1" -m venv .venv
}

install() {
    echo unfinished >"$MARK"
    stage "2/5 build tools"
    install_quietly -c "$CONSTRAINTS" setuptools setuptools-scm
    if [[ -n $TORCH_INDEX ]]; then
        stage "3/5 torch from $TORCH_INDEX"
        install_quietly -c "$CONSTRAINTS" --no-deps --index-url "$TORCH_INDEX" torch
    fi
    stage "3/5 torch and the other libraries (the large download)"
    install_quietly -c "$CONSTRAINTS" --no-build-isolation -e ".[dev,docs]"
    stage "4/5 Lava, norse and tonic, without what they declare but do not need here"
    install_quietly --no-deps --no-build-isolation --ignore-requires-python -r "$WITHOUT_DEPS"
    stage "5/5 check"
    .venv/bin/python -c "$CHECK"
    echo "$PWD $pins" >"$MARK"
    echo "== set-up: .venv is ready"
}

pins=$(cat pyproject.toml requirements/*.txt | sha256sum | cut -d ' ' -f 1)
state=$(state_of_venv)
[[ $state != ready ]] || exit 0
[[ $state == outdated ]] || python=$(find_python)

trap '[[ $? == 0 ]] || echo "set-up: stopped at \"$current\"; the same command goes on with what is downloaded" >&2' EXIT
[[ $state == outdated ]] || make_venv "$python"
install
