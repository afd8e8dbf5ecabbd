# Starting and ending servers by process id. A pid file holds the id and the start time of the process, because
# the kernel gives ids away again: what has another start time isn't ours and is left alone.
# shellcheck shell=bash

log_file() { echo "$STACK_DIR/logs/$1.log"; }
pid_file() { echo "$STACK_DIR/pids/$1"; }

# Field 22 of /proc/<pid>/stat; the name in field 2 may hold spaces, so count from its closing parenthesis.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 # the fields are words
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}

# Prints the id of a server of ours that runs; fails when it doesn't.
server_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$(pid_file "$1")" || return 1
  [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

# By default the quick compiler and the plain collector: half the processor time until a server is ready, and half
# the memory, which counts for more in a test of a minute than what the others win in an hour. A bench sets its own.
# shellcheck disable=SC2034 # read by kafka.sh and connect.sh
read -r -a java_options <<<"${ACEQUIA_STACK_JAVA:--XX:TieredStopAtLevel=1 -XX:+UseSerialGC}"

# start_server NAME COMMAND...: in a session of its own, so that Ctrl-C in the caller's terminal doesn't reach
# it, with an environment of its own, so that nothing of the caller's leaks into a server.
start_server() {
  local name=$1 pid
  shift
  # A plain command, not a function: only so is $! the server's own id and not that of a shell around it.
  "${as_server[@]}" setsid env -i -C "$STACK_DIR" PATH="$PATH" HOME="$STACK_DIR" LANG=C.UTF-8 TZ=UTC "$@" \
    >>"$(log_file "$name")" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$(pid_file "$name")"
}

# Somebody else's server on our port would answer in the place of ours. One of ours that was killed may hold it for a
# moment longer: its threads end one by one.
refuse_taken_port() {
  local tries=50
  while (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
    ((tries-- > 0)) && sleep 0.1 && continue
    die "$1 can't start: another process listens on 127.0.0.1:$2; set ACEQUIA_PORT_OFFSET, e.g. to 100, for other ports"
  done
}

# wait_ready NAME SECONDS CHECK...: until the check, a client's call, succeeds.
wait_ready() {
  local name=$1 deadline=$(($(now_ms) + $2 * 1000))
  shift 2
  until "$@" >/dev/null 2>&1; do
    server_pid "$name" >/dev/null || give_up "$name" "ended while starting"
    [ "$(now_ms)" -lt "$deadline" ] || give_up "$name" "doesn't answer"
    sleep 0.1
  done
}

give_up() {
  tail -n 20 "$(log_file "$1")" >&2
  die "$1 $2; its log is $(log_file "$1")"
}

# Waits until every given process is gone; fails after so many seconds: wait_gone SECONDS PID...
wait_gone() {
  local deadline=$(($(now_ms) + $1 * 1000)) pid
  shift
  for pid in "$@"; do
    while start_time "$pid" >/dev/null; do
      [ "$(now_ms)" -lt "$deadline" ] || return 1
      sleep 0.05
    done
  done
}

wait_ended() {
  local pid
  pid=$(server_pid "$2") || return 0
  wait_gone "$1" "$pid"
}

# Asks servers to stop, all at once, for brokers that stop one by one wait for each other; kills one only when it
# is still there after 20 s. SIGCONT is for one that a test has frozen.
stop_servers() {
  local name pid signal from
  from=$(now_ms)
  for name in "$@"; do
    pid=$(server_pid "$name") || continue
    # PostgreSQL: TERM would wait for clients to leave, INT sends them away.
    signal=TERM
    [ "$name" != postgres ] || signal=INT
    kill -"$signal" "$pid"
    kill -CONT "$pid"
  done
  for name in "$@"; do
    [ -e "$(pid_file "$name")" ] || continue
    if wait_ended 20 "$name"; then
      say "$name stopped: $(seconds_since "$from")"
    else
      say "$name didn't stop within 20 s and is killed; its log is $(log_file "$name")"
      kill_server "$name"
    fi
    rm -f "$(pid_file "$name")"
  done
}

# As `kill -9`: what a crash looks like. PostgreSQL's children hold its shared memory for a moment longer, and a
# server that is started before they are gone refuses, so they are waited for too.
kill_server() {
  local pid children=()
  pid=$(server_pid "$1") || die "$1 isn't running"
  read -r -a children <<<"$(cat /proc/"$pid"/task/*/children 2>/dev/null)" || true
  kill -KILL "$pid"
  wait_gone 20 "$pid" "${children[@]}" || die "$1 or a child of it is still there 20 s after SIGKILL"
  rm -f "$(pid_file "$1")"
}
