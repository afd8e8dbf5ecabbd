# Sourced by every command of this folder: where things are, which ports, as whom servers run, how steps are told.
# shellcheck shell=bash
set -euo pipefail

stack_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STACK_DIR=${ACEQUIA_STACK_DIR:-${TMPDIR:-/tmp}/acequia-stack}
CACHE_DIR=${ACEQUIA_CACHE:-$HOME/.cache/acequia}
# Marks a folder as ours: only such a one is ever deleted.
STACK_MARK=$STACK_DIR/.acequia-stack
SECRETS_DIR=$STACK_DIR/secrets

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

now_ms() { date +%s%3N; }

# Runs a command, telling what it is for and how long it took.
step() {
  local what=$1 from
  shift
  from=$(now_ms)
  say "$what ..."
  "$@"
  say "$what: $(seconds_since "$from")"
}

seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# A stack keeps the offset it was made with, so that `down` and `status` find it without being told again.
port_offset() {
  local made
  made=$(cat "$STACK_MARK" 2>/dev/null || echo "${ACEQUIA_PORT_OFFSET:-0}")
  [ "${ACEQUIA_PORT_OFFSET:-$made}" = "$made" ] ||
    die "the stack in $STACK_DIR was made with ACEQUIA_PORT_OFFSET=$made, not $ACEQUIA_PORT_OFFSET; use another ACEQUIA_STACK_DIR or 'down --delete' first"
  echo "$made"
}

load_settings() {
  local file name value offset
  offset=$(port_offset)
  for file in versions ports; do
    while IFS='=' read -r name value; do
      case $name in
        '' | '#'*) continue ;;
        *_PORT) value=$((value + offset)) ;;
      esac
      declare -g "$name=$value"
    done <"$stack_source/$file.env"
  done
  PORT_OFFSET=$offset
}

am_root() { [ "$(id -u)" = 0 ]; }

# Servers never run as root: as the caller, or as `nobody` when the caller is root.
server_uid() { if am_root; then id -u nobody; else id -u; fi; }
server_gid() { if am_root; then id -g nobody; else id -g; fi; }

# What a command line begins with so that it runs as the servers do.
as_server=()
if am_root; then
  as_server=(setpriv --reuid="$(server_uid)" --regid="$(server_gid)" --clear-groups --no-new-privs)
fi

# A folder that the servers own: server_folder MODE PATH...
server_folder() {
  local mode=$1
  shift
  install -d -m "$mode" -o "$(server_uid)" -g "$(server_gid)" "$@"
}

random_password() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# Writes standard input to a file that only the servers (and root) can read.
server_secret() {
  local path=$1
  (umask 377 && cat >"$path.new")
  chown "$(server_uid):$(server_gid)" "$path.new"
  mv -f "$path.new" "$path"
}

prepare_folders() {
  if [ ! -e "$STACK_MARK" ]; then
    [ ! -d "$STACK_DIR" ] || [ -z "$(ls -A "$STACK_DIR")" ] || die "$STACK_DIR isn't empty and isn't a stack of ours; name another folder in ACEQUIA_STACK_DIR"
    install -d -m 755 "$STACK_DIR"
    echo "$PORT_OFFSET" >"$STACK_MARK"
  fi
  install -d -m 755 "$STACK_DIR"/{logs,pids,lib}
  server_folder 750 "$SECRETS_DIR"
  "${as_server[@]}" test -x "$STACK_DIR" || die "the servers run as $(id -un "$(server_uid)"), who can't enter $STACK_DIR; choose a folder below one that everyone may enter, such as /tmp"
}

# One command at a time works on a stack; others wait here.
lock_stack() {
  exec 9>"$STACK_DIR/lock"
  flock -w 600 9 || die "another command has held $STACK_DIR/lock for 10 minutes"
}

# `kafka` stands for all the brokers of this stack.
broker_count() { cat "$STACK_DIR/brokers" 2>/dev/null || echo 1; }

server_names() {
  local name i
  for name in "$@"; do
    case $name in
      kafka) for ((i = 1; i <= $(broker_count); i++)); do echo "kafka-$i"; done ;;
      kafka-[1-3] | connect | postgres | redis) echo "$name" ;;
      *) die "no server is called '$name'; there are kafka (kafka-1 to kafka-3), connect, postgres, redis" ;;
    esac
  done
}

server_port() {
  local variable=${1^^}
  variable=${variable//-/_}_PORT
  echo "${!variable}"
}
