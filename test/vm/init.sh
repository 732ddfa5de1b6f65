#!/bin/busybox sh
# First process of the test VM, from its initial file system: mounts the host's root, read-only,
# under a layer of memory that takes all writes, and goes on there.
set -e
/bin/busybox mkdir -p /proc /sys /dev /lower /layer /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
  /bin/busybox insmod "/modules/$module"
done </modules/order
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=1048576 host /lower
/bin/busybox mount -t tmpfs -o size=80% tmpfs /layer
/bin/busybox mkdir /layer/upper /layer/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work \
  overlay /root
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in holdfast.vm=*) job=${word#*=} ;; esac
done
/bin/busybox umount /proc
/bin/busybox umount /sys
exec /bin/busybox switch_root /root /bin/sh "$job"
