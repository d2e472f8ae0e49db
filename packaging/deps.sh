#!/bin/sh
# Installs what pgvigil needs: deps.sh SECTION... (sections of deps.txt; default: build run test).
#
# Debian and Ubuntu: by apt, as root or with sudo, only what is missing. Server packages start
# nothing: a policy-rc.d that refuses starts stands there meanwhile, unless the host has its own.
# Elsewhere it only tells what to install, and fails if something is missing.
set -eu

here=$(dirname "$0")
[ $# -gt 0 ] || set -- build run test

# Column $1 (2 Debian, 3 Fedora) of the wanted sections, each package once.
packages() {
    column=$1
    shift
    for section in "$@"; do
        awk -v s="$section" -v c="$column" '$1 == s && $c != "-" { print $c }' "$here/deps.txt"
    done | sort -u
}

# Is any package that matches the pattern installed?
have_deb() {
    # "ii " or "hi ": installed
    dpkg-query -W -f '${db:Status-Abbrev}|' "$1" 2>/dev/null | grep -q 'i |'
}

missing_debs() {
    for p in $(packages 2 "$@"); do
        found=
        for alternative in $(echo "$p" | tr '|' ' '); do
            if have_deb "$alternative"; then
                found=1
                break
            fi
        done
        [ -n "$found" ] || echo "${p%%|*}"
    done
}

tell_dnf() {
    if command -v rpm >/dev/null 2>&1; then
        missing=
        for p in $(packages 3 "$@"); do
            rpm -q --whatprovides "$p" >/dev/null 2>&1 || missing="$missing $p"
        done
    else
        missing=" $(packages 3 "$@" | tr '\n' ' ')"
    fi
    [ -n "$missing" ] || return 0
    echo "pgvigil needs these packages; on Fedora or RHEL: dnf install$missing" >&2
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Runs as root, with the packages as arguments.
install_debs() {
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # No "main" cluster that nobody asked for; a host that has PostgreSQL keeps its own setting.
    conf=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$conf" ] && ! dpkg-query -W postgresql-common >/dev/null 2>&1; then
        mkdir -p "${conf%/*}"
        echo 'create_main_cluster = false' >"$conf"
    fi
    apt-get -q update
    apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "$@" </dev/null
}

if [ "${1:-}" = --install-as-root ]; then
    shift
    install_debs "$@"
    exit
fi
if ! command -v apt-get >/dev/null 2>&1; then
    tell_dnf "$@"
    exit
fi
set -f # package names may be patterns
missing=$(missing_debs "$@" | tr '\n' ' ')
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
    echo "not root and no sudo: as root, run: apt-get install $missing" >&2
    exit 1
fi
echo "installing: $missing" >&2
# shellcheck disable=SC2086 # a list of words
as_root sh "$0" --install-as-root $missing >&2
