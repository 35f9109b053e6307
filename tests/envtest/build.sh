#!/bin/sh
# Builds what the tests need that no package holds, from the Go modules beside this file: the
# control plane that tests/cluster runs against (etcd, kube-apiserver, kube-controller-manager and
# kube-scheduler), or helm.
#
#   build.sh [helm]           builds what is missing; the last line printed is the directory
#   build.sh [helm] --where   prints the directory and builds nothing; fails when it is not built
#
# The result is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/gitopsd/envtest/<key>, where <key> is
# the SHA-256 of everything that decides it, so that the next clone finds it.
# KUBEBUILDER_ASSETS names a directory to use instead of building the control plane.
set -eu

# The commit and date that the release in kubernetes/go.mod was made from: the proxy that serves
# a module does not tell them, the kubectl of that release does (kubectl version --client).
kubernetes_commit=f78e722310e50bcaca9276be22276d9e91d91308
kubernetes_date=2026-09-23T17:10:04Z

here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = helm ]; then
    shift
    what="helm" part=helm modules="helm" programs="helm"
else
    what="the Kubernetes control plane" part= modules="etcd kubernetes"
    programs="etcd kube-apiserver kube-controller-manager kube-scheduler"
fi

say() { printf 'envtest: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

missing_in() {
    for program in $programs; do
        [ -x "$1/$program" ] || { printf '%s' "$program"; return; }
    done
}

if [ -z "$part" ] && [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    missing=$(missing_in "$KUBEBUILDER_ASSETS")
    [ -z "$missing" ] || fail "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has no executable $missing; put it there or unset the variable"
    printf '%s\n' "$KUBEBUILDER_ASSETS"
    exit 0
fi

cd "$here"
key=$({ cat build.sh; for module in $modules; do cat "$module"/*; done; } | sha256sum | cut -c1-64)
parent=${XDG_CACHE_HOME:-$HOME/.cache}/gitopsd/envtest
target=$parent/$key

if [ -z "$(missing_in "$target")" ]; then
    printf '%s\n' "$target"
    exit 0
fi
if [ "${1:-}" = --where ]; then
    fail "$what for the tests is not built yet; build it with: make envtest"
fi

# Go is often unpacked to a place that is in no PATH but that of its owner's shell.
PATH=$PATH:/usr/local/go/bin:${HOME:-}/go/bin:${HOME:-}/.local/go/bin:/usr/lib/go/bin:/snap/bin
wanted=$(sed -n 's/^go //p' kubernetes/go.mod helm/go.mod | sort -V | tail -n 1)
how_to_install() {
    case $(uname -m) in aarch64 | arm64) machine=arm64 ;; *) machine=amd64 ;; esac
    say "install it, then run make again:"
    fail "  curl -fsSL https://go.dev/dl/go$wanted.linux-$machine.tar.gz | sudo tar -C /usr/local -xz"
}
if ! command -v go >/dev/null; then
    say "building $what takes Go $wanted or newer, and there is no go command, in /usr/local/go neither"
    how_to_install
fi
version=$(GOTOOLCHAIN=local go env GOVERSION)
if ! printf '%s\n' "$wanted" "${version#go}" | sort --check=quiet --version-sort; then
    say "building $what takes Go $wanted or newer, and $(command -v go) is $version"
    how_to_install
fi
mkdir -p "$parent"

# A second build of the same thing waits for the first and then finds it done.
if [ -z "${GITOPSD_ENVTEST_LOCKED:-}" ]; then
    say "building $what from source (once, some minutes)"
    exec env GITOPSD_ENVTEST_LOCKED=1 flock "$parent/lock" sh "$here/build.sh" $part "$@"
fi

# Both shorten the build a little: compilers are short-lived and need not collect garbage often,
# and debugging information would only be dropped by the linker (-s -w).
flags="-trimpath -buildvcs=false -gcflags=all=-dwarf=false"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -modcacherw" GOWORK=off GOGC=400
rm -rf "$parent"/building.*  # of a build that was killed: this one has the lock
work=$(mktemp -d "$parent/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
started=$(date +%s)
elapsed() { echo $(($(date +%s) - started)); }

build_helm() {
    say "[$(elapsed) s] helm"
    (cd helm && go build $flags -ldflags "-s -w" -o "$work/helm" helm.sh/helm/v4/cmd/helm)
}

build_control_plane() {
    version=$(sed -n 's/^[[:space:]]*k8s\.io\/kubernetes \(v[^ ]*\)$/\1/p' kubernetes/go.mod)
    [ -n "$version" ] || fail "kubernetes/go.mod names no version of k8s.io/kubernetes"
    major=${version#v}; major=${major%%.*}
    minor=${version#v*.}; minor=${minor%%.*}

    stamp="-s -w"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        stamp="$stamp -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
        stamp="$stamp -X $package.gitCommit=$kubernetes_commit -X $package.gitTreeState=clean"
        stamp="$stamp -X $package.buildDate=$kubernetes_date"
    done

    say "[$(elapsed) s] etcd"
    (cd etcd && go build $flags -ldflags "-s -w" -o "$work/etcd" .) || return
    say "[$(elapsed) s] kube-apiserver, kube-controller-manager, kube-scheduler $version"
    (cd kubernetes && go build $flags -ldflags "$stamp" -o "$work/kubernetes" .) || return
    for server in kube-apiserver kube-controller-manager kube-scheduler; do
        ln -s kubernetes "$work/$server"
    done
}

"build_${part:-control_plane}" || fail "go could not build $what; what it said stands above. It takes its modules from proxy.golang.org: without the network, or behind another proxy, set GOPROXY and run make again"

chmod 755 "$work"
rm -rf "$target"
mv "$work" "$target"
trap - EXIT
say "[$(elapsed) s] built"
printf '%s\n' "$target"
