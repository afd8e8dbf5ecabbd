# Kafka in KRaft mode: one or three nodes, each broker and controller.
# shellcheck shell=bash

broker_port() { server_port "kafka-$1"; }
controller_port() { local -n port=KAFKA_${1}_CONTROLLER_PORT; echo "$port"; }
sasl_port() { local -n port=KAFKA_${1}_SASL_PORT; echo "$port"; }

# each_broker FORMAT FUNCTION: a comma-separated list, with %s being the node and its port.
each_broker() {
  local i list=()
  for ((i = 1; i <= $(broker_count); i++)); do
    # shellcheck disable=SC2059 # the format is given by this file
    list+=("$(printf "$1" "$i" "$("$2" "$i")")")
  done
  (IFS=, && echo "${list[*]}")
}
bootstrap_servers() { each_broker '%.0s127.0.0.1:%s' broker_port; }

write_kafka_config() {
  local node=$1 config=$2 brokers majority
  brokers=$(broker_count)
  majority=$((brokers / 2 + 1))
  {
    cat "$stack_source/etc/kafka.properties"
    echo "node.id=$node"
    echo "controller.quorum.voters=$(each_broker '%s@127.0.0.1:%s' controller_port)"
    echo "listeners=PLAINTEXT://127.0.0.1:$(broker_port "$node"),CONTROLLER://127.0.0.1:$(controller_port "$node"),SASL_PLAINTEXT://127.0.0.1:$(sasl_port "$node")"
    echo "log.dirs=$STACK_DIR/kafka-$node/data"
    echo "default.replication.factor=$brokers"
    echo "min.insync.replicas=$majority"
    echo "offsets.topic.replication.factor=$brokers"
    echo "transaction.state.log.replication.factor=$brokers"
    echo "transaction.state.log.min.isr=$majority"
    echo "share.coordinator.state.topic.replication.factor=$brokers"
    echo "share.coordinator.state.topic.min.isr=$majority"
  } >"$config"
}

# The user of the SCRAM listener is part of the first format. Arguments can be seen by everyone on the machine,
# so Java reads them, the password among them, from a file.
format_kafka() {
  local node=$1 config=$2 arguments=$STACK_DIR/kafka-$1/format
  server_secret "$arguments" <<ARGUMENTS
-Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile=file:$STACK_DIR/lib/log4j2.yaml
-cp "$STACK_DIR/lib/kafka/*" kafka.tools.StorageTool format
--cluster-id=$(cat "$STACK_DIR/cluster-id") --config "$config"
--add-scram "SCRAM-SHA-512=[name=$(cat "$SECRETS_DIR/kafka-user/username"),password=$(cat "$SECRETS_DIR/kafka-user/password")]"
ARGUMENTS
  "${as_server[@]}" java "@$arguments" >>"$(log_file "kafka-$node")" 2>&1 9>&- || give_up "kafka-$node" "couldn't format its folder"
  rm -f "$arguments"
}

prepare_kafka() {
  fetch_kafka
  link_into_stack "$(kafka_jars)" kafka
  install -m 644 "$stack_source/etc/log4j2.yaml" "$STACK_DIR/lib/log4j2.yaml"
  # All nodes of a cluster share this id: 16 random bytes, as Kafka writes them.
  [ -s "$STACK_DIR/cluster-id" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' >"$STACK_DIR/cluster-id"
  write_credentials kafka-user acequia
}

start_kafka() {
  local node=${1#kafka-} folder=$STACK_DIR/$1
  local config=$folder/server.properties
  server_folder 750 "$folder" "$folder/data"
  write_kafka_config "$node" "$config"
  [ -e "$folder/data/meta.properties" ] || step "formatting $1" format_kafka "$node" "$config"
  start_server "$1" java "${java_options[@]}" -Xms64m -Xmx"${ACEQUIA_KAFKA_HEAP:-384m}" -XX:+ExitOnOutOfMemoryError \
    -Djava.awt.headless=true -Dlog4j2.configurationFile="file:$STACK_DIR/lib/log4j2.yaml" -cp "$STACK_DIR/lib/kafka/*" kafka.Kafka "$config"
}

# Asks for the cluster's metadata (API 3, version 1, no topics) and succeeds when all brokers are in it. Spoken by
# hand, because a Java client needs 2 s of processor time for one question.
kafka_answers() {
  local port count
  port=$(broker_port "${1#kafka-}")
  count=$(timeout 5 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    printf "\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0" >&3
    head -c 12 <&3 | tail -c 4 | od -An -tu1' "$port") || return 1
  # shellcheck disable=SC2086 # four bytes, big end first
  set -- $count
  [ "${4:-0}" = "$(broker_count)" ]
}

await_kafka() { wait_ready "$1" 120 kafka_answers "$1"; }
