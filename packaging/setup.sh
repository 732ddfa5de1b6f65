#!/bin/sh
# Gives a fresh Debian machine what the build and the tests need; what is there is left alone.
#
#   packaging/setup.sh            the node packages: enough for `make ok` and `make build`
#   packaging/setup.sh packages   also Debian's packages for the lab, the demo and the benches (root)
#   packaging/setup.sh etcd       those and etcd, for the bench beside it (root)
#   packaging/setup.sh balancers  those and the peers and load of the balancing bench (root)
set -eu
cd "$(dirname "$0")/.."

fail() {
  printf 'setup: %s\n' "$1" >&2
  exit 1
}

node_packages() {
  stamp=node_modules/.holdfast-setup
  want=$(sha256sum package-lock.json)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && [ -x node_modules/node/bin/node ]; then
    return
  fi
  command -v npm >/dev/null || fail 'npm is missing; install Node.js 20 or newer with npm'
  # npm must not run under the very Node that it is about to replace.
  PATH=$(printf '%s' "$PATH" | sed "s|$PWD/node_modules/.bin:||g") npm ci --no-audit --no-fund \
    --loglevel=error
  [ -x node_modules/node/bin/node ] || node node_modules/node/installArchSpecificPackage.js ||
    fail 'the bundled Node was not fetched; look at the output of npm ci'
  printf '%s' "$want" >"$stamp"
}

# Installs what is missing of a list of program=package, each found by its program.
debian_packages() {
  missing=
  for tool in $1; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${tool%%=*}" >/dev/null ||
      missing="$missing ${tool#*=}"
  done
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || fail "needs root to install:$missing; run it as root"
  command -v apt-get >/dev/null || fail "no apt-get here; install these by hand:$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of names
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
  # Tests and benches start these themselves; as services the machine gets none from us.
  for service in keepalived etcd haproxy nginx; do
    case $missing in
      *$service*)
        if [ -d /run/systemd/system ]; then systemctl disable --now "$service" || true; fi
        ;;
    esac
  done
}

for_unit_tests='openssl=openssl'
for_the_lab='ip=iproute2 nft=nftables arping=iputils-arping keepalived=keepalived
tcpdump=tcpdump systemd-analyze=systemd strace=strace mkfs.ext4=e2fsprogs iptables-restore=iptables'

for_the_proposals_bench='etcd=etcd-server etcdctl=etcd-client'

for_the_balancing_bench='haproxy=haproxy nginx=nginx-light wrk=wrk curl=curl'
# nginx needs a module that no program stands for.
stream_module=/usr/lib/nginx/modules/ngx_stream_module.so

case ${1:-} in
  '')
    debian_packages "$for_unit_tests"
    node_packages
    ;;
  packages)
    debian_packages "$for_unit_tests $for_the_lab"
    node_packages
    ;;
  etcd)
    debian_packages "$for_unit_tests $for_the_lab $for_the_proposals_bench"
    node_packages
    ;;
  balancers)
    [ -e "$stream_module" ] ||
      for_the_balancing_bench="$for_the_balancing_bench ngx_stream_module=libnginx-mod-stream"
    debian_packages "$for_unit_tests $for_the_lab $for_the_balancing_bench"
    node_packages
    ;;
  *) fail "unknown argument $1; it takes none, or: packages, etcd, balancers" ;;
esac
