# Go programs, built once per version into the cache: the tools that the machine lacks, and what the node image is made of.
# shellcheck shell=bash

program_folder() { echo "$CACHE_DIR/go/$1-$2"; }

ensure_go() {
  [ -z "${go_found:-}" ] || return 0
  PATH=$CACHE_DIR/go/toolchain/bin:$PATH
  if ! new_enough_go; then
    step "getting Go $GO_VERSION" get_go
    # The shell remembers where the old one is.
    hash -r
  fi
  new_enough_go || die "Go $GO_AT_LEAST or later is needed to build what is missing, and $(go version 2>&1 | head -n 1) is what there is. Install it, or kind, helm and kubectl"
  # Neither flags nor a workspace of the user's shall change what is built.
  export GOFLAGS='-mod=mod -buildvcs=false' GOWORK=off CGO_ENABLED=0
  go_found=yes
}

new_enough_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) && version=${version#go} &&
    [ "$(printf '%s\n' "$GO_AT_LEAST" "$version" | sort -V | head -n 1)" = "$GO_AT_LEAST" ]
}

# Any Go of the distribution, however old, can fetch the one that is wanted: toolchains are modules too (that is how
# GOTOOLCHAIN=auto works from 1.21 on). Only their programs must be made executable again.
get_go() {
  local fetched=$CACHE_DIR/go/toolchain module
  command -v go >/dev/null || install_packages golang-go
  module=golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$(go env GOARCH)
  rm -rf "$fetched.partial"
  GOFLAGS=-mod=mod GOTOOLCHAIN=local go mod download "$module" ||
    die "couldn't fetch Go $GO_VERSION as a module. Install Go $GO_AT_LEAST or later by hand, so that \`go\` is on PATH"
  cp -r "$(go env GOMODCACHE)/$module" "$fetched.partial"
  chmod -R u+w "$fetched.partial"
  chmod -R +x "$fetched.partial/bin" "$fetched.partial/pkg/tool"
  mv "$fetched.partial" "$fetched"
}

# The compiler is told to be nice, or whatever else runs here would wait for it.
go_build() {
  local folder=()
  # -C is taken only as the first flag.
  if [ "$1" = -C ]; then folder=(-C "$2"); shift 2; fi
  nice -n 10 go build "${folder[@]}" -trimpath "$@"
}

# go_program NAME MODULE VERSION LDFLAGS PACKAGE=FILE...: FILEs appear in the program's folder, all or none. One
# throw-away module per program, so that each is linked with the dependencies that its own go.mod chose.
go_program() {
  local name=$1 folder
  folder=$(program_folder "$name" "$3")
  [ -d "$folder/bin" ] || with_cache_lock step "building $name $3" build_go_program "$folder" "$@"
}

build_go_program() {
  local folder=$1 name=$2 module=$3 version=$4 ldflags=$5 pair
  shift 5
  [ ! -d "$folder/bin" ] || return 0
  ensure_go
  rm -rf "$folder/bin.partial"
  mkdir -p "$folder/bin.partial"
  if [ ! -e "$folder/go.sum" ]; then
    printf 'module acequia.dev/build/%s\n\ngo 1.24\n\nrequire %s %s\n' "$name" "$module" "$version" >"$folder/go.mod"
    {
      printf '//go:build tools\n\npackage tools\n\nimport (\n'
      printf '\t_ "%s"\n' "${@%%=*}"
      printf ')\n'
    } >"$folder/tools.go"
  fi
  for pair in "$@"; do
    logged "go-$name" go_build -C "$folder" -tags "${tags:-}" -ldflags "-s -w $ldflags" -o "$folder/bin.partial/${pair##*=}" "${pair%%=*}"
  done
  mv "$folder/bin.partial" "$folder/bin"
}

# A program whose source is in programs/; prints its path.
local_program() {
  local source=$cluster_source/programs/$1 version
  version=$(cat "$source"/*.go | sha256sum | head -c 12)
  [ -d "$(program_folder "$1" "$version")/bin" ] || with_cache_lock build_local_program "$1" "$version" >&2
  echo "$(program_folder "$1" "$version")/bin/$1"
}

build_local_program() {
  local folder
  folder=$(program_folder "$1" "$2")
  ensure_go
  mkdir -p "$folder/bin.partial"
  (cd "$cluster_source/programs/$1" && logged "go-$1" go_build -ldflags '-s -w' -o "$folder/bin.partial/$1" main.go)
  mv "$folder/bin.partial" "$folder/bin"
}

# Kubernetes isn't made to be used as a module: its go.mod names its own parts by folders that the module lacks. So its
# go.mod is taken over with those parts replaced by the same versions as published, which links what its release links.
readonly kubernetes_programs=(kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl)

kubernetes_program() { echo "$(program_folder kubernetes "$KUBERNETES_VERSION")/bin/$1"; }

build_kubernetes() {
  local folder name ldflags=
  folder=$(program_folder kubernetes "$KUBERNETES_VERSION")
  for name in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $name.gitVersion=$KUBERNETES_VERSION -X $name.gitMajor=1 -X $name.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
    ldflags+=" -X $name.gitTreeState=clean -X $name.buildDate=1970-01-01T00:00:00Z"
  done
  for name in "$@"; do
    [ ! -x "$folder/bin/$name" ] || continue
    ensure_go
    mkdir -p "$folder/bin"
    [ -e "$folder/go.sum" ] || take_over_kubernetes "$folder"
    step "building $name $KUBERNETES_VERSION" logged "go-$name" go_build -C "$folder" -ldflags "-s -w $ldflags" \
      -o "$folder/bin/$name.partial" "k8s.io/kubernetes/cmd/$name"
    mv "$folder/bin/$name.partial" "$folder/bin/$name"
  done
}

take_over_kubernetes() {
  local folder=$1 source version=$KUBERNETES_VERSION
  source=$(cd "$folder" && go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  [ -n "$source" ] || die "couldn't get Kubernetes $version as a module"
  sed -E -e 's#^module .*#module acequia.dev/build/kubernetes#' \
    -e "s#(k8s\.io/[a-z0-9-]+) => \./staging/src/k8s\.io/[a-z0-9-]+#\1 => \1 v0.${version#v1.}#" "$source/go.mod" >"$folder/go.mod"
  (cd "$folder" && go mod edit -require "k8s.io/kubernetes@$version")
  {
    printf '//go:build tools\n\npackage tools\n\nimport (\n'
    printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' "${kubernetes_programs[@]}"
    printf ')\n'
  } >"$folder/tools.go"
  install -m 644 "$source/go.sum" "$folder/go.sum"
}

# Command line tools that the machine lacks, into $CACHE_DIR/bin.
ensure_tools() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || "ensure_$tool"
  done
}
ensure_kind() {
  go_program kind sigs.k8s.io/kind "$KIND_VERSION" "" sigs.k8s.io/kind=kind
  link_tool kind "$KIND_VERSION"
}
ensure_helm() {
  local module=helm.sh/helm/${HELM_VERSION%%.*}
  go_program helm "$module" "$HELM_VERSION" "-X $module/internal/version.version=$HELM_VERSION" "$module/cmd/helm=helm"
  link_tool helm "$HELM_VERSION"
}
ensure_kubectl() {
  with_cache_lock build_kubernetes kubectl
  link_tool kubernetes "$KUBERNETES_VERSION" kubectl
}
link_tool() {
  install -d "$CACHE_DIR/bin"
  ln -sfn "$(program_folder "$1" "$2")/bin/${3:-$1}" "$CACHE_DIR/bin/${3:-$1}"
}
