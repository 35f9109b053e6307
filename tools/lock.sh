#!/bin/sh
# Writes the lock files from pyproject.toml: every version exact, every file by its hash, and no
# address of a package index, so that each machine uses its own.
#
#   requirements/dev.txt  everything: the service, its tests, linters and build
#   requirements/run.txt  the service alone, for the image
#
# A locked version stays unless pyproject.toml excludes it; UPGRADE=1 takes the newest.
set -eu
cd "$(dirname "$0")/.."

# pip's settings of this machine must not leak into the files.
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL

lock() {
    target=$1
    shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-emit-package gitopsd \
        ${UPGRADE:+--upgrade} --output-file "$target" pyproject.toml "$@"
    # The header is ours: the tool's own would quote the command line of this machine.
    { printf '# Locked with hashes. Written by `make lock`; edit pyproject.toml instead.\n'; cat "$target"; } >"$target.new"
    mv "$target.new" "$target"
}

mkdir -p requirements
for target in requirements/dev.txt requirements/run.txt; do
    if [ -f "$target" ]; then
        sed -i '/^# Locked with hashes/d' "$target"
    fi
done
lock requirements/dev.txt --group dev
lock requirements/run.txt
