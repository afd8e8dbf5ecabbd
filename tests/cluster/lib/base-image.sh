# What other images begin with: the distribution of this machine, so that what is compiled here finds its own C library
# there. With a registry it is pulled under its usual name; without, it is made under that name, and Dockerfiles needn't know.
# shellcheck shell=bash

os_release() { sed -n "s/^$1=\"\?\([^\"]*\)\"\?\$/\1/p" /etc/os-release; }

base_image() {
  case $(os_release ID) in
    debian) echo "debian:$(os_release VERSION_CODENAME)-slim" ;;
    ubuntu) echo "ubuntu:$(os_release VERSION_CODENAME)" ;;
    *) die "no base image is known for $(os_release PRETTY_NAME); only Debian and Ubuntu are" ;;
  esac
}

ensure_base_image() {
  local base
  base=$(base_image)
  [ -z "$(image_id "$base")" ] || return 0
  registry_answers && step "pulling $base" pull "$base" && return
  step "making $base, since it can't be pulled" make_base_image "$base"
}

pull() { timeout 600 docker pull --quiet "$1" >/dev/null 2>&1; }

# Without a registry every name in the world fails alike, so one is asked, once, for the smallest that there is.
registry_answers() {
  if [ -z "${registry_found:-}" ]; then
    registry_found=no
    [ "${ACEQUIA_REGISTRY:-}" = no ] || ! timeout 30 docker pull --quiet hello-world >/dev/null 2>&1 || registry_found=yes
  fi
  [ "$registry_found" = yes ]
}

# The mirror that this machine's own apt uses: read when it is needed, written down nowhere but in the image.
apt_mirror() {
  {
    sed -nE 's/^URIs: *([^ ]+).*/\1/p' /etc/apt/sources.list.d/{debian,ubuntu}.sources
    sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' /etc/apt/sources.list
  } 2>/dev/null | grep -v security | head -n 1
}

make_base_image() {
  local root=$CLUSTER_DIR/base-image suite mirror security keyring
  command -v debootstrap >/dev/null || install_packages debootstrap
  suite=$(os_release VERSION_CODENAME)
  mirror=$(apt_mirror) || true
  [ -n "$mirror" ] || die "couldn't read this machine's mirror out of /etc/apt/sources.list or sources.list.d; an image can't be made without"
  mirror=${mirror%/}
  keyring=/usr/share/keyrings/$(os_release ID)-archive-keyring.gpg
  security="$mirror $suite-security"
  [ "$(os_release ID)" != debian ] || security="$mirror-security $suite-security"
  rm -rf "$root"
  logged base-image debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror"
  slim_down "$root"
  printf 'deb [signed-by=%s] %s main\n' "$keyring" "$mirror $suite" "$keyring" "$mirror $suite-updates" "$keyring" "$security" >"$root/etc/apt/sources.list"
  tar -C "$root" --numeric-owner --sort=name -c . |
    docker import -c 'CMD ["bash"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$1" >/dev/null
  rm -rf "$root"
}

# As Debian's own slim images: no documentation, no translations, nothing of apt's, and no more of them later.
slim_down() {
  local root=$1
  printf 'path-exclude /usr/share/%s/*\n' man info locale lintian doc >"$root/etc/dpkg/dpkg.cfg.d/slim"
  echo 'path-include /usr/share/doc/*/copyright' >>"$root/etc/dpkg/dpkg.cfg.d/slim"
  printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/slim"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$root"/usr/share/{man,info,lintian,locale}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
    "$root"/var/cache/debconf/*-old "$root"/etc/hostname "$root"/etc/resolv.conf
  : >"$root/etc/machine-id"
}
