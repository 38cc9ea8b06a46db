#!/usr/bin/env bash
# The rig's guest: Debian's kernel, three modules that it lacks, and a root file system in memory with the shipped agent.
# image.sh AGENT RIG-GUEST: the two programs. Everything goes to target/rig; downloads are kept in target/rig/cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
agent=$1 guest=$2
here=tests/rig
out=$PWD/target/rig
cache=$out/cache
mkdir -p "$cache"

say() { echo "rig: $*" >&2; }

# The newest kernel that the package lists know; one that was fetched before is good as long as its files are there.
kernel() {
  version=$(cat "$cache/version" 2>/dev/null || true)
  if [ -n "$version" ] && [ -e "$cache/$version/done" ]; then return; fi
  version=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-\(6\.1\.[0-9]*-[0-9]*-amd64\).*/\1/p' | head -1)
  [ -n "$version" ] || { say "no linux-image-amd64 6.1 in the package lists: this needs Debian 12, after apt-get update"; exit 1; }
  say "fetching Debian's kernel $version and the sources of two modules"
  local common=${version%-amd64}-common
  rm -rf "${cache:?}/$version"
  mkdir -p "$cache/$version/deb"
  (
    cd "$cache/$version/deb"
    apt-get download -qq "linux-image-$version" "linux-headers-$version" "linux-headers-$common" \
      linux-kbuild-6.1 linux-source-6.1 v4l2loopback-dkms 2>&1 | grep -v unsandboxed || true
    for file in *.deb; do dpkg -x "$file" ..; done
    cd ..
    tar -xJf usr/src/linux-source-6.1.tar.xz linux-source-6.1/drivers/gpio linux-source-6.1/kernel/irq
    rm -rf deb usr/src/linux-source-6.1.tar.xz
    # The headers name the place where they would have been installed.
    sed -i "s|/usr/src/|$PWD/usr/src/|" "usr/src/linux-headers-$version/Makefile"
    touch done
  )
  echo "$version" >"$cache/version"
}

modules() {
  local tree=$cache/$version built=$cache/$version/modules
  local sum
  sum=$(cat $here/modules/* | sha256sum)
  if [ "$(cat "$built/sum" 2>/dev/null)" = "$sum" ]; then return; fi
  say "building gpio-sim, v4l2loopback and spi-record for $version"
  rm -rf "$built"
  mkdir -p "$built"
  cp $here/modules/Kbuild $here/modules/spi-record.c "$built/"
  cp "$tree"/usr/src/v4l2loopback-*/v4l2loopback*.[ch] "$built/"
  patch -s -d "$built" -p1 <$here/modules/v4l2loopback.patch
  cp "$tree/linux-source-6.1/drivers/gpio/gpio-sim.c" "$built/gpio-sim-core.c"
  cp "$tree/linux-source-6.1/drivers/gpio/gpiolib.h" "$built/"
  # The one function of irq_sim that modules may not call has a twin that they may.
  sed 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/' \
    "$tree/linux-source-6.1/kernel/irq/irq_sim.c" >"$built/irq_sim.c"
  make -s -C "$tree/usr/src/linux-headers-$version" M="$built" modules >"$built/log" 2>&1 ||
    { cat "$built/log" >&2; say "the modules do not build: see $built/log"; exit 1; }
  mkdir -p "$tree/lib/modules/$version/extra"
  for name in gpio-sim v4l2loopback spi-record; do
    strip --strip-debug -o "$tree/lib/modules/$version/extra/$name.ko" "$built/$name.ko"
  done
  /usr/sbin/depmod -b "$tree" "$version"
  echo "$sum" >"$built/sum"
}

root() {
  local tree=$cache/$version root=$out/root
  rm -rf "$root"
  mkdir -p "$root"/{bin,dev,proc,sys,config,tmp,run,etc,modules,lib64,lib/x86_64-linux-gnu,didar}
  install -m 755 $here/init "$root/init"
  cp /bin/busybox "$root/bin/busybox"
  install -m 755 "$agent" "$root/bin/didar-agent"
  install -m 755 "$guest" "$root/bin/rig-guest"
  # Every library that the two programs name; the loader finds them in one folder.
  ldd "$agent" "$guest" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | sort -u | while read -r library; do
    cp -L "$library" "$root/lib/x86_64-linux-gnu/"
  done
  cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
  mkdir -p "$root/didar/models"
  cp models/manifest.toml models/*.tflite "$root/didar/models/"
  # Modules in the order in which they must be loaded.
  for module in virtio_pci virtio_console virtio_blk virtio_net configfs gpio-sim v4l2loopback spi-record bochs; do
    /usr/sbin/modprobe --show-depends -d "$tree" -S "$version" "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$root/modules/"
    basename "$file" .ko
  done >"$root/modules/order"
  (cd "$root" && find . -print0 | cpio --quiet -0 -o -H newc) >"$out/guest.cpio"
  cp "$tree/boot/vmlinuz-$version" "$out/vmlinuz"
  say "guest: kernel $version, $(du -m "$out/guest.cpio" | cut -f1) MB"
}

cross/install.sh qemu-system-x86_64=qemu-system-x86 busybox=busybox-static cpio=cpio depmod=kmod gcc-12=gcc-12 patch=patch \
  xz=xz-utils /usr/include/libelf.h=libelf-dev /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1=libfaketime
kernel
modules
root
