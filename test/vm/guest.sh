# Makes a host of the test VM: what an init system would have done, as far as tests notice. The
# script of the run includes this, and goes on with its own commands as the only other process.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
# Nothing that runs on the machine outside may be taken for something in here.
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/lock /run/tmp
export TMPDIR=/run/tmp NO_COLOR=1
# The kernel finds its own modules here when a rule or a device wants one.
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$KERNEL/lib/modules/$(uname -r)" "/lib/modules/$(uname -r)"
# One after the other on demand, they would take longer than whoever wants them waits.
modprobe -a veth bridge dummy ip_vs ip_vs_rr ip_vs_wrr ip_vs_wlc ip_vs_sh ip_vs_mh nf_tables nft_ct \
  nft_nat nft_masq nft_chain_nat nft_fib_inet nft_reject_inet nft_limit nft_log nft_numgen nft_hash \
  nft_redir sch_ingress cls_bpf nf_conntrack_netlink
ip link set lo up
