# Kafka Connect in distributed mode with Debezium's PostgreSQL connector.
# shellcheck shell=bash

fetch_connect() {
  fetch_kafka
  fetch_plugin debezium-connector-postgres "$DEBEZIUM_POSTGRES_VERSION"
}

prepare_connect() {
  local plugin=debezium-connector-postgres
  fetch_connect
  link_into_stack "$(plugin_folder "$plugin" "$DEBEZIUM_POSTGRES_VERSION")" plugins/"$plugin"
  if [ "${with_jdbc_sink:-no}" = yes ]; then
    plugin=debezium-connector-jdbc
    fetch_plugin "$plugin" "$DEBEZIUM_JDBC_VERSION"
    link_into_stack "$(plugin_folder "$plugin" "$DEBEZIUM_JDBC_VERSION")" plugins/"$plugin"
  fi
}

write_connect_config() {
  local factor
  factor=$(broker_count)
  cat "$stack_source/etc/connect.properties"
  echo "bootstrap.servers=$(bootstrap_servers)"
  echo "config.storage.replication.factor=$factor"
  echo "offset.storage.replication.factor=$factor"
  echo "status.storage.replication.factor=$factor"
  echo "listeners=http://127.0.0.1:$CONNECT_PORT"
  echo "rest.advertised.host.name=127.0.0.1"
  echo "plugin.path=$STACK_DIR/lib/plugins"
  echo "config.providers.dir.param.allowed.paths=$SECRETS_DIR"
  # A bench or a test may have wishes of its own; what comes last counts.
  [ -z "${ACEQUIA_CONNECT_PROPERTIES:-}" ] || cat "$ACEQUIA_CONNECT_PROPERTIES"
}

start_connect() {
  local config=$STACK_DIR/connect/worker.properties
  server_folder 750 "$STACK_DIR/connect"
  write_connect_config >"$config"
  start_server connect java "${java_options[@]}" -Xms64m -Xmx"${ACEQUIA_CONNECT_HEAP:-512m}" -XX:+ExitOnOutOfMemoryError \
    -Djava.awt.headless=true -Dlog4j2.configurationFile="file:$STACK_DIR/lib/log4j2.yaml" -cp "$STACK_DIR/lib/kafka/*" \
    org.apache.kafka.connect.cli.ConnectDistributed "$config"
}

# The worker's own word that it has joined its group and read its topics.
connect_answers() { curl -fsS --max-time 5 -o /dev/null "http://127.0.0.1:$CONNECT_PORT/health"; }

await_connect() { wait_ready connect 90 connect_answers; }
