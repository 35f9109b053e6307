#!/bin/sh
# Runs a command in a network and a /run of its own, so that an ordinary user may run tests that
# make networks, and two runs side by side share no port, no route and no file of /run.
#
#   sh tools/own-network.sh COMMAND [ARGUMENT...]
#
# All that the command sees of the network is its own loopback; /run and /dev/shm are empty, and what
# it makes there goes with it. All other files, users and processes are those of the machine. Where
# even root may not do this, as in many containers, the command runs as it is.
set -eu

PATH="$PATH:/usr/sbin:/sbin"
if [ "$(id -u)" = 0 ]; then
    apart="unshare --net --mount"
else
    apart="unshare --map-current-user --keep-caps --net --mount"
fi
# What is mounted in there is seen by no other process, and goes with the last one in it.
enter='mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm &&
    ip link set lo up'

if $apart -- sh -c "$enter" 2>/dev/null; then
    exec $apart -- sh -c "$enter"' && exec "$@"' sh "$@"
fi
if [ "$(id -u)" = 0 ]; then
    exec "$@"
fi

# setting NAME VALUE: the command that allows it, when a setting of the kernel stands in the way.
setting() {
    if [ "$(cat "/proc/sys/$1" 2>/dev/null)" = "$2" ]; then
        echo "  sudo sysctl -w $(echo "$1" | tr / .)=$3"
    fi
}
{
    echo "the tests' cluster needs a network of its own, and an ordinary user may not make one here"
    echo "allow it, then run make again:"
    setting kernel/apparmor_restrict_unprivileged_userns 1 0
    setting kernel/unprivileged_userns_clone 0 1
    setting user/max_user_namespaces 0 10000
    echo "or run the tests as root:"
    echo "  sudo make test"
} >&2
exit 1
