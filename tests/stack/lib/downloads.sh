# What comes from Maven Central: fetched once per version into the cache, by one process at a time.
# shellcheck shell=bash

kafka_jars() { echo "$CACHE_DIR/kafka-$KAFKA_VERSION"; }
kafka_streams_jars() { echo "$CACHE_DIR/kafka-streams-$KAFKA_VERSION"; }
plugin_folder() { echo "$CACHE_DIR/$1-$2"; }

maven() {
  local log=$CACHE_DIR/maven.log
  MAVEN_OPTS="-Xmx512m -XX:TieredStopAtLevel=1" mvn -B -ntp -Dmaven.repo.local="$CACHE_DIR/maven" "$@" >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; die "Maven failed; its log is $log"; }
}
dependency_goal() { echo "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:$1"; }

# fetch WHAT FOLDER COMMAND...: the command fills a folder beside it, which is renamed when whole; so a folder
# with the right name is always complete.
fetch() {
  local what=$1 folder=$2
  shift 2
  [ -d "$folder" ] && return
  install -d "$CACHE_DIR"
  (
    flock 8
    [ ! -d "$folder" ] || exit 0
    rm -rf "$folder.partial"
    mkdir "$folder.partial"
    step "fetching $what from Maven Central" "$@" "$folder.partial"
    chmod -R a+rX "$folder.partial"
    mv "$folder.partial" "$folder"
  ) 8>"$CACHE_DIR/lock"
}

# copy_jars POM FOLDER: what the dependencies of a pom come to.
copy_jars() {
  maven -f "$1" -Dkafka.version="$KAFKA_VERSION" -Dlog4j.version="$LOG4J_VERSION" \
    "$(dependency_goal copy-dependencies)" -DincludeScope=runtime -DoutputDirectory="$2"
}

copy_plugin() {
  local name=$1 version=$2 folder=$3
  maven "$(dependency_goal copy)" -Dartifact="io.debezium:$name:$version:tar.gz:plugin" -DoutputDirectory="$folder"
  tar -xzf "$folder/$name-$version-plugin.tar.gz" -C "$folder" --strip-components=1 --no-same-owner
  rm "$folder/$name-$version-plugin.tar.gz"
}

fetch_kafka() { fetch "Kafka $KAFKA_VERSION" "$(kafka_jars)" copy_jars "$stack_source/etc/kafka-jars.xml"; }

# The peer of `make bench-aggregations`; no server needs it.
fetch_kafka_streams() {
  fetch "Kafka Streams $KAFKA_VERSION" "$(kafka_streams_jars)" copy_jars "$stack_source/../bench/kafka-streams/pom.xml"
}

fetch_plugin() {
  fetch "$1 $2" "$(plugin_folder "$1" "$2")" copy_plugin "$1" "$2"
}

# The cache may lie in a home that the servers can't enter; hard links under the stack's folder cost nothing.
link_into_stack() {
  local from=$1 to=$STACK_DIR/lib/$2
  [ -d "$to" ] && return
  install -d "$(dirname "$to")"
  rm -rf "$to.partial"
  cp -rl "$from" "$to.partial" 2>/dev/null || { rm -rf "$to.partial"; cp -r "$from" "$to.partial"; }
  chmod 755 "$to.partial"
  mv "$to.partial" "$to"
}
