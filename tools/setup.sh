#!/bin/sh
# Makes .venv with what requirements/dev.txt locks, and gitopsd itself in place.
#
#   sh tools/setup.sh [PYTHON]   PYTHON is a command or a path; without it, the first one of this
#                                machine that is new enough
#
# Safe to repeat, and to run twice at once in one clone: the second waits, and finds it done.
set -eu

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

cd "$(dirname "$0")/.."
done=.venv/.locked

# Version of a Python, when it is 3.11 or newer.
new_enough() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

is_done() {
    [ -e "$done" ] && [ -z "$(find requirements/dev.txt pyproject.toml -newer "$done")" ]
}

# Nothing is looked for before the lock: who waits for a second .venv has all that it takes.
if [ -z "${GITOPSD_SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    mkdir -p build
    exec env GITOPSD_SETUP_LOCKED=1 flock build/setup.lock sh tools/setup.sh "$@"
fi
if is_done; then
    exit 0
fi

asked=${1:-}
python=""
for candidate in ${asked:-python3 python3.14 python3.13 python3.12 python3.11}; do
    command -v "$candidate" >/dev/null || continue
    found=${found:-$candidate}
    if version=$(new_enough "$candidate"); then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    if [ -n "${found:-}" ]; then
        said=$("$found" --version 2>&1) || said="no version"
        echo "gitopsd needs Python 3.11 or newer, and $found is $said" >&2
    else
        echo "gitopsd needs Python 3.11 or newer, and there is no ${asked:-python3} command" >&2
    fi
    fail "install it (Debian, Ubuntu), then run make again:" \
        "  sudo apt-get install python3.11 python3.11-venv" \
        "one that is somewhere else can be named: make setup PYTHON=/path/to/python3"
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    fail "$python cannot make virtual environments: its modules venv and ensurepip are a package of their own" \
        "install it (Debian, Ubuntu), then run make again:" \
        "  sudo apt-get install python$version-venv"
fi

# One that was made by half, or for a Python that is gone, is made again.
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/dev.txt || fail "" \
    "pip could not install what requirements/dev.txt lists; what it said stands above" \
    "it needs an index of Python packages once; without the usual one, name another and run make again:" \
    "  export PIP_INDEX_URL=https://MIRROR/simple"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
touch "$done"
