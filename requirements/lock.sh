#!/usr/bin/env bash
# Writes runtime.txt and dev.txt: every package with its version and hashes, for all Python versions and machines we
# support. Needs uv. `lock.sh --upgrade` moves to the newest versions that pyproject.toml allows.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "make lock" "$@" requirements/build.in
}

compile pyproject.toml --output-file requirements/runtime.txt "$@"
compile pyproject.toml --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt "$@"
