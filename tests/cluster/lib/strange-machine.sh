# What is done for machines that aren't ordinary; on an ordinary one each of these does nothing. Nothing else in this
# folder asks what kind of machine it runs on.
# shellcheck shell=bash

# 1. A host that is itself a small virtual machine or a container may lack capabilities, CAP_SYS_RESOURCE for one.
#    Then no privileged container starts, for the engine asks for all of them, and none whose oom score is lower than
#    that of its parent. `lesser-runc` stands before runc and takes out of each container's specification what this
#    host can't give; once before the host's runc, for the nodes, and once before the node's, for the pods.
lacks_capabilities() {
  local last has
  last=$(cat /proc/sys/kernel/cap_last_cap)
  has=$(sed -n 's/^CapBnd:\s*//p' /proc/self/status)
  [ $((16#$has)) -ne $(((1 << (last + 1)) - 1)) ]
}
strange_engine_options() {
  lacks_capabilities || return 0
  install -D -m 755 "$(lesser_runc)" "$ENGINE_DIR/lesser-runc"
  printf '%s\n' --add-runtime "lesser=$ENGINE_DIR/lesser-runc" --default-runtime lesser
}
# The same node image shall do for every machine, so it always holds the program, which finds nothing to do elsewhere.
strange_node_files() {
  local config=$1/etc/containerd/config.toml
  install -D -m 755 "$(lesser_runc)" "$1/kind/bin/lesser-runc"
  sed -i -e 's#^\( *\)SystemdCgroup = true#&\n\1BinaryName = "/kind/bin/lesser-runc"#' \
    -e 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$config"
  [ "$(grep -c lesser-runc "$config")" -ge 1 ] || die "kind's containerd config isn't what it was; look at strange_node_files"
}
lesser_runc() { local_program lesser-runc; }

# 2. A host without systemd: nobody starts the engine, so engine.sh does, and ends it by its id.
without_systemd() { [ ! -d /run/systemd/system ]; }

# 3. An engine's client without the buildx plug-in still has its own, older builder. All Dockerfiles here do with it.
docker_build() {
  if docker buildx version >/dev/null 2>&1; then docker build "$@"; else DOCKER_BUILDKIT=0 docker build "$@"; fi
}
