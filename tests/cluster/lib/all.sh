# Sourced by every command of this folder: where things are, and what the commands share with those of tests/stack
# (how steps are told, where downloads are kept, how packages are installed).
# shellcheck shell=bash disable=SC1091,SC2034
cluster_source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
project=$(cd "$cluster_source/../.." && pwd)
source "$project/tests/stack/lib/stack.sh"
source "$project/tests/stack/lib/process.sh"
source "$project/tests/stack/lib/packages.sh"
source "$cluster_source/versions.env"

CLUSTER=${ACEQUIA_CLUSTER:-acequia}
CLUSTER_DIR=${ACEQUIA_CLUSTER_DIR:-${TMPDIR:-/tmp}/$CLUSTER-cluster}
# Of the whole machine, since two engines would get in each other's way.
ENGINE_DIR=${ACEQUIA_ENGINE_DIR:-/var/lib/acequia-engine}
export KUBECONFIG=$CLUSTER_DIR/kubeconfig
# What the machine has comes first.
PATH=$PATH:$CACHE_DIR/bin

source "$cluster_source/lib/strange-machine.sh"
source "$cluster_source/lib/engine.sh"
source "$cluster_source/lib/go.sh"
source "$cluster_source/lib/base-image.sh"
source "$cluster_source/lib/node-image.sh"
source "$cluster_source/lib/nodes.sh"

# One command at a time works on a cluster, and one on the cache; others wait here. What outlives a command is
# started with 9>&- 8>&-, or it would hold the lock.
lock_cluster() {
  install -d -m 700 "$CLUSTER_DIR"
  exec 9>"$CLUSTER_DIR/lock"
  flock -w 1800 9 || die "another command has held $CLUSTER_DIR/lock for 30 minutes; see what it does with: fuser -v $CLUSTER_DIR/lock"
}
with_cache_lock() {
  if [ -n "${cache_locked:-}" ]; then
    "$@"
    return
  fi
  install -d "$CACHE_DIR/go" "$CACHE_DIR/bin"
  (
    cache_locked=yes
    flock -w 3600 8 || die "another command has held $CACHE_DIR/go/lock for an hour"
    "$@"
  ) 8>"$CACHE_DIR/go/lock"
}

# A log file for what is long and only of interest when it fails: logged NAME COMMAND...
logged() {
  local log=$CLUSTER_DIR/logs/$1.log
  shift
  install -d "$CLUSTER_DIR/logs"
  "$@" >"$log" 2>&1 || { tail -n 25 "$log" >&2; die "failed: $*; its log is $log"; }
}
