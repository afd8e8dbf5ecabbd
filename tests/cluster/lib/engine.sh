# The Docker engine: the machine's own where one answers. Where none does, one is installed if need be, and started.
# shellcheck shell=bash

engine_pid_file=$ENGINE_DIR/pid
engine_log=$ENGINE_DIR/dockerd.log

engine_answers() { timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Succeeds when an engine answers; from then on the client talks to that one.
find_engine() {
  command -v docker >/dev/null || return 1
  engine_answers && return
  [ -S "$ENGINE_DIR/docker.sock" ] || return 1
  export DOCKER_HOST=unix://$ENGINE_DIR/docker.sock
  engine_answers && return
  unset DOCKER_HOST
  return 1
}

ensure_engine() {
  find_engine && return
  am_root || die "no Docker engine answers (docker version), and only root can install or start one. As root run this command, or start yours and be in the group docker"
  if ! { command -v docker && command -v dockerd; } >/dev/null; then
    step "installing the Docker engine" install_packages docker.io iptables
  fi
  if without_systemd; then
    step "starting the Docker engine" start_engine
  else
    step "starting the Docker engine" systemctl start docker
    find_engine || die "the Docker engine was started but doesn't answer; see: systemctl status docker"
  fi
}

# The id of the engine that start_engine started.
engine_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$engine_pid_file" || return 1
  [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

start_engine() {
  local pid deadline options
  install -d -m 711 "$ENGINE_DIR"
  mapfile -t options < <(strange_engine_options)
  ulimit -n "$(ulimit -Hn)"
  rm -f "$ENGINE_DIR/docker.pid"
  # Not in a function call or a pipe: only so is $! the engine's own id.
  setsid dockerd -H "unix://$ENGINE_DIR/docker.sock" --data-root "$ENGINE_DIR/data" --exec-root "$ENGINE_DIR/run" \
    -p "$ENGINE_DIR/docker.pid" "${options[@]}" >>"$engine_log" 2>&1 </dev/null 9>&- 8>&- &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$engine_pid_file"
  deadline=$(($(now_ms) + 60000))
  until find_engine; do
    engine_pid >/dev/null || { tail -n 20 "$engine_log" >&2; die "the Docker engine ended while starting; its log is $engine_log"; }
    [ "$(now_ms)" -lt "$deadline" ] || { tail -n 20 "$engine_log" >&2; die "the Docker engine doesn't answer after 60 s; its log is $engine_log"; }
    sleep 0.2
  done
}

# Ends the engine if it is one of ours and runs nothing any more.
stop_engine() {
  local pid
  pid=$(engine_pid) || return 0
  if [ -n "$(DOCKER_HOST=unix://$ENGINE_DIR/docker.sock docker ps -q)" ]; then
    say "the Docker engine ($pid) stays: it runs other containers"
    return
  fi
  kill -TERM "$pid"
  wait_gone 60 "$pid" || die "the Docker engine ($pid) didn't stop within 60 s; its log is $engine_log"
  rm -f "$engine_pid_file"
}

image_label() { docker image inspect -f "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null; }
image_id() { docker image inspect -f '{{.Id}}' "$1" 2>/dev/null; }
