# The cluster itself: created, revived, waited for, deleted.
# shellcheck shell=bash

cluster_exists() { kind get clusters 2>/dev/null | grep -qxF "$CLUSTER"; }
cluster_answers() { timeout 10 kubectl get --raw /readyz >/dev/null 2>&1; }
node_names() { kind get nodes --name "$CLUSTER" 2>/dev/null; }

# What the cluster is made of, whichever of the two node images it is.
cluster_recipe() {
  { kind_config; cat "$cluster_source"/patches/*; echo "$KIND_NODE_IMAGE"; node_recipe; } | sha256sum | head -c 12
}

# The project's kind-config.yaml, with $ACEQUIA_PORT_OFFSET added to the ports on this machine.
kind_config() {
  awk -v offset="${ACEQUIA_PORT_OFFSET:-0}" '{
    if (match($0, /hostPort: *[0-9]+/)) {
      port = substr($0, RSTART, RLENGTH)
      sub(/hostPort: */, "", port)
      $0 = substr($0, 1, RSTART - 1) "hostPort: " (port + offset) substr($0, RSTART + RLENGTH)
    }
    print
  }' "$project/kind-config.yaml"
}

# One that exists and is of this recipe, though its nodes may have been stopped with the engine.
keep_cluster() {
  cluster_exists && [ "$(cat "$CLUSTER_DIR/recipe" 2>/dev/null)" = "$(cluster_recipe)" ] || return 1
  [ -s "$KUBECONFIG" ] || kind export kubeconfig --quiet --name "$CLUSTER" --kubeconfig "$KUBECONFIG"
  cluster_answers || step "starting the nodes of the cluster $CLUSTER again" revive
}

revive() {
  local deadline=$(($(now_ms) + 60000)) began
  began=$(date -u +%Y-%m-%dT%H:%M:%S)
  node_names | xargs -r docker start >/dev/null 2>&1 || return 1
  until cluster_answers && nodes_were_seen_since "$began"; do
    [ "$(now_ms)" -lt "$deadline" ] || return 1
    sleep 0.5
  done
}

# What is said of a node's health may be from before it was stopped; but its lease it renews every 10 s.
nodes_were_seen_since() {
  local renewed
  renewed=$(kubectl -n kube-node-lease get leases -o 'jsonpath={range .items[*]}{.spec.renewTime}{"\n"}{end}' 2>/dev/null | sort | head -n 1)
  [[ $renewed > $1 ]]
}

create_cluster() {
  # The folder with the patches is named from the project's.
  cd "$project" || exit
  kind_config >"$CLUSTER_DIR/kind-config.yaml"
  rm -f "$CLUSTER_DIR/recipe"
  logged kind kind create cluster --name "$CLUSTER" --image "$node_image" --config "$CLUSTER_DIR/kind-config.yaml" --kubeconfig "$KUBECONFIG"
  cluster_recipe >"$CLUSTER_DIR/recipe"
}

delete_cluster() { kind delete cluster --quiet --name "$CLUSTER" --kubeconfig "$KUBECONFIG"; }

await_cluster() {
  nodes_dns_and_storage_ready && return
  kubectl get nodes,pods -A >&2 || true
  die "the cluster $CLUSTER isn't ready; look with: KUBECONFIG=$KUBECONFIG kubectl describe nodes"
}
nodes_dns_and_storage_ready() {
  kubectl wait --for=condition=Ready nodes --all --timeout=180s >/dev/null &&
    kubectl -n kube-system rollout status deployment/coredns --timeout=120s >/dev/null &&
    kubectl -n local-path-storage rollout status deployment/local-path-provisioner --timeout=120s >/dev/null
}
