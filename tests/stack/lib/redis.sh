# Redis with an append-only file, so that it comes back with its data.
# shellcheck shell=bash

prepare_redis() { :; }

start_redis() {
  server_folder 750 "$STACK_DIR/redis"
  start_server redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$STACK_DIR/redis" \
    --appendonly yes --appendfsync everysec --save '' --maxmemory 128mb --maxmemory-policy noeviction
}

redis_answers() { [ "$(timeout 5 redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping)" = PONG ]; }

await_redis() { wait_ready redis 20 redis_answers; }
