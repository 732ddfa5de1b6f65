#!/bin/sh
# Gives a fresh Debian machine what the build and the tests need; what is there is left alone.
#
#   packaging/setup.sh            the node packages: enough for `make ok` and `make build`
#   packaging/setup.sh packages   also Debian's packages for the lab, the demo and the benches (root)
#   packaging/setup.sh etcd       those and etcd, for the bench beside it (root)
#   packaging/setup.sh balancers  those and the peers and load of the balancing bench (root)
#   packaging/setup.sh vm         those of the lab, an emulator and Debian's kernel for it (root)
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

# The test VM's kernel: Debian's own, unpacked beside the sources and never installed; of its
# modules those that a network or the VM itself may want.
debian_kernel() {
  target=.cache/vm/kernel
  [ ! -e "$target/complete" ] || return 0
  rm -rf "$target"
  mkdir -p "$target"
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p')
  [ -n "$package" ] || fail 'apt knows no linux-image-amd64; run apt-get update'
  (cd "$target" && apt-get download -qq -o APT::Sandbox::User=root "$package")
  dpkg-deb --fsys-tarfile "$target"/*.deb | tar -x -C "$target" --wildcards './boot/vmlinuz-*' \
    './lib/modules/*/modules.*' './lib/modules/*/kernel/net/*' './lib/modules/*/kernel/lib/*' \
    './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/arch/x86/crypto/*' \
    './lib/modules/*/kernel/fs/9p/*' './lib/modules/*/kernel/fs/fscache/*' \
    './lib/modules/*/kernel/fs/netfs/*' './lib/modules/*/kernel/fs/overlayfs/*' \
    './lib/modules/*/kernel/drivers/virtio/*' './lib/modules/*/kernel/drivers/net/bonding/*' \
    './lib/modules/*/kernel/drivers/net/*.ko'
  rm "$target"/*.deb
  for version in "$target"/lib/modules/*; do
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$target" "$(basename "$version")"
  done
  touch "$target/complete"
}

for_unit_tests='openssl=openssl'
for_the_lab='ip=iproute2 ping=iputils-ping nft=nftables arping=iputils-arping keepalived=keepalived
tcpdump=tcpdump systemd-analyze=systemd strace=strace mkfs.ext4=e2fsprogs iptables-restore=iptables'

for_the_vm='qemu-system-x86_64=qemu-system-x86 busybox=busybox-static cpio=cpio depmod=kmod
ipvsadm=ipvsadm'

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
  vm)
    debian_packages "$for_unit_tests $for_the_lab $for_the_vm"
    debian_kernel
    node_packages
    ;;
  *) fail "unknown argument $1; it takes none, or: packages, etcd, balancers, vm" ;;
esac
