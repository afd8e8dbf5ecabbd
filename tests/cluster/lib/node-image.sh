# The image of the cluster's nodes. With a registry: kind's own. Without: one that is built here once and kept in the
# cache under the hash of its recipe; 10 minutes on two cores from nothing, seconds from the cache.
# shellcheck shell=bash

# Prints nothing; sets node_image.
ensure_node_image() {
  node_image=$KIND_NODE_IMAGE
  [ -z "$(image_id "$node_image")" ] || return 0
  registry_answers && step "pulling ${node_image%@*}" pull "$node_image" && return
  node_image=acequia.dev/node:$KUBERNETES_VERSION-$(node_recipe)
  [ -z "$(image_id "$node_image")" ] || return 0
  with_cache_lock make_node_image
}

# Everything that a change of the image would be a change of.
node_recipe() {
  (
    cd "$cluster_source" || exit
    base_image
    grep -E '^(KIND|KUBERNETES|ETCD|COREDNS|CNI_PLUGINS|CONTAINERD|LOCAL_PATH_PROVISIONER|PAUSE)_VERSION=' versions.env
    cat node/* programs/*/main.go
    declare -f make_base_image slim_down strange_node_files build_node_programs build_kubernetes take_over_kubernetes make_cluster_images \
      image_of make_kube_proxy_image static_busybox build_node node_files_of_kind preload
  ) | sha256sum | head -c 12
}

make_node_image() {
  local archive=$CACHE_DIR/node-image-${node_image##*-}.tar.zst
  command -v zstd >/dev/null || install_packages zstd
  if [ -e "$archive" ]; then
    step "loading the node image from the cache" load_archive "$archive"
    forget_old_images
    return
  fi
  say "kind's node image can't be pulled, so one is built: about 10 minutes the first time"
  ensure_base_image &
  local base=$!
  build_kubernetes "${kubernetes_programs[@]}"
  build_node_programs
  wait "$base" || die "couldn't make the base image"
  step "making the cluster's images" make_cluster_images
  step "building the node image" build_node
  step "keeping it in the cache" save_archive "$archive" "$node_image" "$(base_image)"
  docker rmi "${cluster_images[@]}" "$node_image-bare" >/dev/null
  forget_old_images
}

# Those of other recipes: at once in the engine, unless they are in use, and after two weeks in the cache.
forget_old_images() {
  local image
  for image in $(docker images --format '{{.Repository}}:{{.Tag}}' acequia.dev/node); do
    [ "$image" = "$node_image" ] || docker rmi "$image" >/dev/null 2>&1 || true
  done
  find "$CACHE_DIR" -maxdepth 1 -name 'node-image-*.tar.zst*' -mtime +14 -delete
}

load_archive() {
  touch "$1"
  zstd -dcq "$1" | docker load --quiet >/dev/null
}
save_archive() {
  docker save "${@:2}" | zstd -q -T0 -3 -f -o "$1.partial"
  mv "$1.partial" "$1"
}

build_node_programs() {
  local module
  ensure_kind_source
  go_program etcd go.etcd.io/etcd/server/v3 "$ETCD_VERSION" "" go.etcd.io/etcd/server/v3=etcd
  module=github.com/coredns/coredns
  go_program coredns $module "$COREDNS_VERSION" "-X $module/coremain.GitCommit=module" $module=coredns
  module=github.com/containernetworking/plugins
  go_program cni-plugins $module "$CNI_PLUGINS_VERSION" "-X $module/pkg/utils/buildversion.BuildVersion=$CNI_PLUGINS_VERSION" \
    $module/plugins/{main/ptp=ptp,main/loopback=loopback,ipam/host-local=host-local,meta/portmap=portmap}
  module=github.com/rancher/local-path-provisioner
  go_program local-path-provisioner $module "$LOCAL_PATH_PROVISIONER_VERSION" "-X main.VERSION=$LOCAL_PATH_PROVISIONER_VERSION" $module=local-path-provisioner
  module=github.com/containerd/containerd/v2
  tags="no_aufs no_zfs no_btrfs no_devmapper" go_program containerd $module "$CONTAINERD_VERSION" "-X $module/version.Version=$CONTAINERD_VERSION" \
    $module/cmd/{containerd=containerd,ctr=ctr,containerd-shim-runc-v2=containerd-shim-runc-v2}
}

# Sets kind_source: kind's module holds the files of its node image.
ensure_kind_source() {
  ensure_go
  kind_source=$(cd / && go mod download -json "sigs.k8s.io/kind@$KIND_VERSION" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  [ -d "$kind_source" ] || die "couldn't get kind $KIND_VERSION as a module"
}
# A constant of kind's: the name of an image.
kind_constant() { sed -nE "s/^const $1 = \"(.*)\"/\1/p" "$kind_source/pkg/build/nodeimage/const_storage.go"; }

# image_of NAME ENTRYPOINT FILE...: nothing but these programs, in /bin. Its name is added to cluster_images.
image_of() {
  local name=$1 entrypoint=$2 root=$CLUSTER_DIR/image-of applet
  shift 2
  rm -rf "$root"
  install -d "$root"/{bin,etc/ssl/certs}
  install -d -m 1777 "$root/tmp"
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  install -m 755 -t "$root/bin" "$@"
  [ ! -e "$root/bin/busybox" ] || (cd "$root/bin" && for applet in sh rm mkdir cat mv ip sleep ls; do ln -s busybox "$applet"; done)
  tar -C "$root" --numeric-owner --owner=0 --group=0 --sort=name --mtime=@0 -c . |
    docker import -c "ENTRYPOINT [\"/bin/$entrypoint\"]" -c 'ENV PATH=/bin' - "$name" >/dev/null
  cluster_images+=("$name")
  rm -rf "$root"
}

# Under the names that kubeadm and kind ask for.
make_cluster_images() {
  local name listed busybox
  cluster_images=()
  for name in kube-apiserver kube-controller-manager kube-scheduler; do
    image_of "registry.k8s.io/$name:$KUBERNETES_VERSION" "$name" "$(kubernetes_program "$name")"
  done
  listed=$("$(kubernetes_program kubeadm)" config images list --kubernetes-version "$KUBERNETES_VERSION" 2>/dev/null)
  image_of "$(grep /etcd: <<<"$listed")" etcd "$(program_folder etcd "$ETCD_VERSION")/bin/etcd"
  image_of "$(grep /coredns: <<<"$listed")" coredns "$(program_folder coredns "$COREDNS_VERSION")/bin/coredns"
  image_of "registry.k8s.io/pause:$PAUSE_VERSION" pause "$(local_program pause)"
  image_of "$(kind_constant storageProvisionerImage)" local-path-provisioner "$(program_folder local-path-provisioner "$LOCAL_PATH_PROVISIONER_VERSION")/bin/local-path-provisioner"
  busybox=$(static_busybox)
  image_of "$(kind_constant storageHelperImage)" sh "$busybox"
  image_of acequia.dev/node-network:1 sh "$busybox"
  make_kube_proxy_image
}

static_busybox() {
  local folder=$CLUSTER_DIR/busybox
  rm -rf "$folder"
  install -d "$folder"
  (cd "$folder" && apt-get download -qq busybox-static 2>/dev/null && dpkg-deb -x busybox-static_*.deb .)
  find "$folder" -name busybox -type f -perm -u+x | grep /bin/
}

make_kube_proxy_image() {
  local context=$CLUSTER_DIR/kube-proxy name=registry.k8s.io/kube-proxy:$KUBERNETES_VERSION
  rm -rf "$context"
  install -d "$context"
  install -m 755 "$(kubernetes_program kube-proxy)" "$context"
  cat >"$context/Dockerfile" <<DOCKERFILE
FROM $(base_image)
RUN apt-get update && apt-get install -y --no-install-recommends iptables conntrack nftables kmod && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY kube-proxy /usr/local/bin/kube-proxy
ENTRYPOINT ["/usr/local/bin/kube-proxy"]
DOCKERFILE
  logged kube-proxy docker_build --quiet --tag "$name" "$context"
  cluster_images+=("$name")
  rm -rf "$context"
}

build_node() {
  local context=$CLUSTER_DIR/node root=$CLUSTER_DIR/node/rootfs name
  rm -rf "$context"
  install -d "$root"
  cp "$cluster_source/node/Dockerfile" "$context"
  node_files_of_kind "$root"
  for name in kubeadm kubelet kubectl; do install -D -m 755 "$(kubernetes_program "$name")" "$root/usr/bin/$name"; done
  install -D -m 755 -t "$root/usr/local/bin" "$(program_folder containerd "$CONTAINERD_VERSION")"/bin/* "$cluster_source/node/crictl"
  install -D -m 755 -t "$root/opt/cni/bin" "$(program_folder cni-plugins "$CNI_PLUGINS_VERSION")"/bin/*
  install -D -m 644 "$cluster_source/node/network.yaml" "$root/kind/manifests/default-cni.yaml"
  printf %s "$KUBERNETES_VERSION" >"$root/kind/version"
  strange_node_files "$root"
  logged node-image docker_build --tag "$node_image-bare" --build-arg BASE="$(base_image)" "$context"
  rm -rf "$context"
  preload
}

node_files_of_kind() {
  local root=$1
  cp -r "$kind_source/images/base/files/." "$root"
  chmod -R u=rwX,go=rX "$root"
  chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
  rm -rf "$root/LICENSES"
  sed -i "s#sandbox_image = .*#sandbox_image = \"registry.k8s.io/pause:$PAUSE_VERSION\"#" "$root/etc/containerd/config.toml"
  install -d "$root/kind/manifests"
  # The storage class's manifest is text in kind's program.
  awk '/^const defaultStorageManifest = `/ {on = 1; sub(/^[^`]*`/, "")} on {if ($0 ~ /^`$/) exit; print}' "$kind_source/pkg/build/nodeimage/const_storage.go" |
    sed -e "s#\` + storageProvisionerImage + \`#$(kind_constant storageProvisionerImage)#" \
      -e "s#\` + storageHelperImage + \`#$(kind_constant storageHelperImage)#" >"$root/kind/manifests/default-storage.yaml"
  ! grep -q '`' "$root/kind/manifests/default-storage.yaml" || die "kind's storage manifest isn't what it was; look at node_files_of_kind"
}

# The cluster's images go into the node's own store, as `kind build node-image` does it.
preload() {
  local container=acequia-node-build-$$ deadline
  docker run -d --name "$container" --entrypoint sleep --security-opt seccomp=unconfined "$node_image-bare" infinity >/dev/null
  # shellcheck disable=SC2064 # the name is known now
  trap "docker rm -f -v $container >/dev/null 2>&1" EXIT
  docker exec -d "$container" containerd
  deadline=$(($(now_ms) + 30000))
  until docker exec "$container" ctr version >/dev/null 2>&1; do
    [ "$(now_ms)" -lt "$deadline" ] || die "containerd doesn't start in the node image"
    sleep 0.2
  done
  docker save "${cluster_images[@]}" |
    docker exec -i "$container" ctr --namespace=k8s.io images import --all-platforms --no-unpack --digests - >/dev/null
  docker exec "$container" sh -c 'pid=$(pidof containerd); kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.1; done; rm -rf /run/containerd /tmp/*'
  docker commit --change 'ENTRYPOINT [ "/usr/local/bin/entrypoint", "/sbin/init" ]' "$container" "$node_image" >/dev/null
  docker rm -f -v "$container" >/dev/null
  trap - EXIT
}
