# PostgreSQL with logical decoding: the four databases of InstaShop and the warehouse.
# shellcheck shell=bash

write_credentials() {
  local folder=$SECRETS_DIR/$1 username=$2
  [ ! -d "$folder" ] || return 0
  server_folder 750 "$folder.new"
  printf %s "$username" | server_secret "$folder.new/username"
  random_password | tr -d '\n' | server_secret "$folder.new/password"
  mv "$folder.new" "$folder"
}

prepare_postgres() {
  write_credentials instashop-db instashop
  write_credentials dwh-db dwh
  [ -s "$STACK_DIR/pgpass" ] || write_pgpass
}

# For people and tests: `PGPASSFILE=<stack dir>/pgpass psql -h 127.0.0.1 -p PORT -U instashop instashop`.
# The superuser is in no Secret of a pipeline, so that Connect can't read it.
write_pgpass() {
  (
    umask 077
    for secret in instashop-db dwh-db; do
      printf '127.0.0.1:*:*:%s:%s\n' "$(cat "$SECRETS_DIR/$secret/username")" "$(cat "$SECRETS_DIR/$secret/password")"
    done >"$STACK_DIR/pgpass.new"
    printf '127.0.0.1:*:*:postgres:%s\n' "$(random_password)" >>"$STACK_DIR/pgpass.new"
  )
  mv "$STACK_DIR/pgpass.new" "$STACK_DIR/pgpass"
}

create_cluster() {
  local folder=$STACK_DIR/postgres
  sed -n 's/^.*:postgres://p' "$STACK_DIR/pgpass" | server_secret "$folder/password"
  rm -rf "$folder/data.new"
  "${as_server[@]}" "$(postgres_bin)/initdb" -D "$folder/data.new" --username=postgres --pwfile="$folder/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync >>"$(log_file postgres)" 2>&1 9>&- || give_up postgres "couldn't create its folder"
  rm -f "$folder/password"
  mv "$folder/data.new" "$folder/data"
}

start_postgres() {
  server_folder 750 "$STACK_DIR/postgres"
  [ -d "$STACK_DIR/postgres/data" ] || step "creating the PostgreSQL cluster" create_cluster
  install -m 644 "$stack_source/etc/postgresql.conf" "$STACK_DIR/lib/postgresql.conf"
  echo "include '$STACK_DIR/lib/postgresql.conf'" | "${as_server[@]}" tee "$STACK_DIR/postgres/data/postgresql.conf" >/dev/null
  forget_dead_postmaster
  start_server postgres "$(postgres_bin)/postgres" -D "$STACK_DIR/postgres/data" -p "$POSTGRES_PORT"
}

# After a kill PostgreSQL compares the id in its lock file with what runs, and takes a process that has ended but
# that nobody has waited for yet (a container's first process may be slow at that) for a living one.
forget_dead_postmaster() {
  local lock=$STACK_DIR/postgres/data/postmaster.pid pid
  pid=$(head -n 1 "$lock" 2>/dev/null) || return 0
  start_time "$pid" >/dev/null || rm -f "$lock"
}

superuser() {
  PGPASSFILE=$STACK_DIR/pgpass PGCONNECT_TIMEOUT=5 psql -X -q -w -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres "$@"
}

postgres_answers() { superuser -c 'select 1' postgres; }

# Roles and databases, where they are missing. Passwords go in by standard input, where nobody can read along.
provision_postgres() {
  local database owner
  {
    echo "set log_min_error_statement = panic;"
    for owner in instashop dwh; do
      echo "select 'create role $owner login replication password ''$(cat "$SECRETS_DIR/$owner-db/password")''' where not exists (select from pg_roles where rolname = '$owner') \\gexec"
    done
    echo "alter role dwh noreplication;"
    while read -r database owner; do
      echo "select 'create database $database owner $owner' where not exists (select from pg_database where datname = '$database') \\gexec"
    done <<'DATABASES'
instashop instashop
crm_db instashop
erp_db instashop
ecommerce_db instashop
dwh_db dwh
DATABASES
  } | superuser postgres >/dev/null
}

await_postgres() {
  wait_ready postgres 60 postgres_answers
  provision_postgres
}
