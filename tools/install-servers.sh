#!/bin/sh
# Puts the servers that the tests start for themselves on a Debian or Ubuntu machine.
#
# Only programs are wanted, never running services: a policy answers "no" to every start that a
# package asks for, so that nothing listens afterwards and no port is taken.
#
#   sh tools/install-servers.sh          install what is missing (as root)
#   sh tools/install-servers.sh --check  only say what is missing; exit 1 when something is
set -eu

missing=""

# need PACKAGE PROGRAM...: the package is missing unless one of the programs is there.
need() {
    package=$1
    shift
    for program in "$@"; do
        # An unmatched pattern stays as it is and is no executable file.
        for candidate in $program; do
            case $candidate in
                /*) [ -x "$candidate" ] && return 0 ;;
                *) command -v "$candidate" >/dev/null 2>&1 && return 0 ;;
            esac
        done
    done
    missing="$missing $package"
}

PATH="$PATH:/usr/sbin:/sbin"
need git git
need curl curl
need iproute2 ip
need util-linux unshare
need openssh-server /usr/sbin/sshd
need openssh-client ssh-keygen
need redis-server redis-server valkey-server
need postgresql '/usr/lib/postgresql/*/bin/initdb' /usr/local/bin/initdb
need docker-registry docker-registry registry
need prometheus prometheus

if [ -z "$missing" ]; then
    exit 0
fi

install="apt-get install --yes --no-install-recommends$missing"
if [ "${1:-}" = --check ]; then
    echo "missing test servers:$missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing test servers:$missing" >&2
    echo "this machine has no apt-get: install these programs its own way, then run again" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "missing test servers:$missing" >&2
    echo "install them once (with apt-get; nothing is started), then run make again:" >&2
    echo "  sudo make servers" >&2
    exit 1
fi

# invoke-rc.d asks this program before it starts anything; 101 means "not allowed". A policy that
# the machine already has is put back afterwards.
policy=/usr/sbin/policy-rc.d
kept=""
if [ -e "$policy" ]; then
    kept=$(mktemp)
    cp -p "$policy" "$kept"
fi
restore() {
    if [ -n "$kept" ]; then
        cp -p "$kept" "$policy"
        rm -f "$kept"
    else
        rm -f "$policy"
    fi
}
trap restore EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

# The PostgreSQL packages would make and start a cluster of their own; the tests make theirs.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
# shellcheck disable=SC2086 # the package names are separate words
$install
