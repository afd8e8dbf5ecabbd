# Distribution packages: installed only where a program is missing.
# shellcheck shell=bash

postgres_bin() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
  [ -x "$newest" ] && dirname "$newest"
}

java_is_new_enough() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') && [ "${version:-0}" -ge 17 ]
}

# What the servers, or `build` (the workspace: librdkafka is compiled, and needs OpenSSL), lack on this machine.
missing_packages() {
  local name tool
  for name in "$@"; do
    case $name in
      build)
        for tool in gcc g++ make perl curl; do command -v "$tool" >/dev/null || echo "$tool"; done
        command -v pkg-config >/dev/null || echo pkg-config
        [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
        [ -e /usr/include/zlib.h ] || echo zlib1g-dev
        ;;
      kafka | connect)
        java_is_new_enough || echo java
        command -v mvn >/dev/null || echo maven
        command -v curl >/dev/null || echo curl
        ;;
      kafka-streams)
        # Of the same version as the `java` that runs what it makes, or that wouldn't.
        command -v javac >/dev/null || echo jdk
        command -v mvn >/dev/null || echo maven
        ;;
      postgres) postgres_bin >/dev/null && command -v psql >/dev/null || echo postgresql ;;
      redis) command -v redis-server >/dev/null && command -v redis-cli >/dev/null || echo redis-server ;;
    esac
  done | sort -u
}

# The newest Java that the distribution has without a desktop.
java_package() {
  apt-cache pkgnames openjdk- | sed -n 's/^openjdk-\([0-9]*\)-jre-headless$/\1/p' | sort -n |
    awk '$1 >= 17 {print "openjdk-" $1 "-jre-headless"; exit}'
}

# The compiler for the Java that is here, or else for the one that would be installed.
jdk_package() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  if [ -n "$version" ]; then echo "openjdk-$version-jdk-headless"; else java_package | sed 's/-jre-/-jdk-/'; fi
}

ensure_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] || step "installing ${missing[*]}" install_packages "${missing[@]}"
}

install_packages() {
  local -a wanted become=()
  command -v apt-get >/dev/null || die "missing: $*. Install them; only Debian and Ubuntu are known here"
  if ! am_root; then
    sudo -n true 2>/dev/null || die "missing: $*. As root: apt-get install --no-install-recommends $(set -- "${@/#java/openjdk-17-jre-headless}" && echo "${@/#jdk/openjdk-17-jdk-headless}")"
    become=(sudo -n)
  fi
  "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  read -r -a wanted <<<"$*"
  wanted=("${wanted[@]/#java/$(java_package)}")
  wanted=("${wanted[@]/#jdk/$(jdk_package)}")
  keep_services_down "${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

# Debian starts what it installs; we start our own. policy-rc.d is how it is asked not to.
keep_services_down() {
  local policy=/usr/sbin/policy-rc.d status=0
  local -a become=()
  am_root || become=(sudo -n)
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | "${become[@]}" tee "$policy" >/dev/null
  "${become[@]}" chmod 755 "$policy"
  "$@" || status=$?
  "${become[@]}" rm -f "$policy"
  # Nor shall they come up with the machine.
  if [ -d /run/systemd/system ]; then
    "${become[@]}" systemctl disable --quiet postgresql redis-server 2>/dev/null || true
  fi
  return "$status"
}
