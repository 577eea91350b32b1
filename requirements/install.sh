#!/usr/bin/env bash
# Installs what is locked, and the project itself, into .venv: `install.sh runtime|dev`.
set -euo pipefail
cd "$(dirname "$0")/.."
set_name=$1

fail() {
    printf 'colink: %s\n' "$*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: install python3, or name one with PYTHON=/path/to/python"
}

make_venv() {
    local python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "colink: installing python3-venv"
            apt-get update -qq </dev/null
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv </dev/null
        fi
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python lacks the module venv: install the package python3-venv (apt install python3-venv)"
    fi
    "$python" -m venv --clear .venv
}

# The README's tour, which a test runs, uses the first two; hledger checks what we export.
need_programs() {
    local missing=()
    for program in curl openssl hledger; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "colink: installing ${missing[*]}"
        apt-get update -qq </dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
    else
        fail "the tests need ${missing[*]}: install them first"
    fi
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "colink: creating .venv with $("$python" --version)"
    make_venv "$python"
fi
if [ "$set_name" = dev ]; then need_programs; fi
echo "colink: installing requirements/$set_name.txt into .venv"
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps)
"${pip[@]}" --require-hashes --only-binary :all: -r "requirements/$set_name.txt"
"${pip[@]}" --no-build-isolation --editable .
