#!/bin/sh
# Writes the lock files from pyproject.toml: every version exact, every file by its hash, and no
# address of a package index, so that each machine uses its own.
#
#   requirements/dev.txt    everything: the service, its tests, linters and build
#   requirements/run.txt    the service alone, for the image
#   requirements/build.txt  what makes the service's wheel, for the image
#
#   sh tools/lock.sh          write them; a locked version stays unless pyproject.toml excludes it
#   UPGRADE=1 sh tools/lock.sh  take the newest versions
#   sh tools/lock.sh --check  only compare; exit 1 when a file is out of date
set -eu
cd "$(dirname "$0")/.."

# pip's settings of this machine must not leak into the files.
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lock() {
    name=$1
    shift
    if [ -f "requirements/$name" ]; then
        cp "requirements/$name" "$work/$name"
    fi
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        --no-emit-package gitopsd ${UPGRADE:+--upgrade} --output-file "$work/$name" "$@"
    # The header is ours: the tool's own would quote the command line of this machine.
    {
        echo "# Locked with hashes. Written by make lock; edit pyproject.toml instead."
        grep -v '^# Locked with hashes' "$work/$name"
    } >"$work/new"
    mv "$work/new" "$work/$name"
}

lock dev.txt pyproject.toml --group dev
lock run.txt pyproject.toml
lock build.txt --group build

if [ "${1:-}" = --check ]; then
    for name in dev.txt run.txt build.txt; do
        cmp -s "$work/$name" "requirements/$name" || {
            echo "requirements/$name does not match pyproject.toml: run make lock" >&2
            exit 1
        }
    done
    exit 0
fi
mkdir -p requirements
cp "$work/dev.txt" "$work/run.txt" "$work/build.txt" requirements/
