# --- who answers on a port --------------------------------------------------------------------------------------------

# Sockets that listen on a port, of any user.
listeners() {
  awk -v port="$(printf '%04X' "$1")" '$4 == "0A" { n = split($2, part, ":"); if (part[n] == port) print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true
}

# A process and all that it started.
family() {
  ps -eo pid=,ppid= | awk -v root="$1" '{ parent[$1] = $2 }
    END { for (pid in parent) { at = pid; hops = 0; while (at != root && at > 1 && hops++ < 64) at = parent[at]; if (at == root) print pid } }'
}

# owns_port PID PORT: somebody listens there, and nobody outside the process's family does.
owns_port() {
  local sockets socket pid pids held
  sockets=$(listeners "$2")
  if [ -z "$sockets" ] || [ -z "$1" ] || [ "$1" -le 1 ]; then return 1; fi
  pids=$(family "$1")
  for socket in $sockets; do
    held=no
    for pid in $pids; do
      if [ -n "$(find "/proc/$pid/fd" -lname "socket:?$socket?" -print -quit 2>/dev/null)" ]; then held=yes; break; fi
    done
    if [ "$held" = no ]; then return 1; fi
  done
}

# The status of one answer to the site's own name; 000 for none.
ASK='
const [host, port, path] = process.argv.slice(1);
const ask = require("http").get({ host: "localhost", port, path, headers: { Host: host, "X-Forwarded-Proto": "https" }, timeout: 10000 },
  (answer) => { console.log(answer.statusCode); process.exit(0); });
ask.on("timeout", () => ask.destroy());
ask.on("error", () => { console.log("000"); process.exit(0); });'
status_of() {
  if command -v curl >/dev/null 2>&1; then
    curl --silent --globoff --path-as-is --noproxy '*' --output /dev/null --max-time 10 --write-out '%{http_code}' \
      --header "Host: $SW_DOMAIN" --header 'X-Forwarded-Proto: https' "http://localhost:$1$SW_HEALTH_PATH" </dev/null 8>&- 9>&- || true
  else
    timeout 15 node -e "$ASK" "$SW_DOMAIN" "$1" "$SW_HEALTH_PATH" </dev/null 8>&- 9>&- || true
  fi
}

# look PORT FUNCTION: waits until the process whose id FUNCTION prints owns the port and answers well. ANSWER tells why not.
look() {
  local port=$1 whose=$2 end=$((SECONDS + LOOK_SECONDS)) pid status
  ANSWER="it does not listen on port $port"
  while :; do
    pid=$("$whose") || pid=''
    if [ -z "$pid" ]; then ANSWER='its process has ended'; if [ "$whose" = spare_pid ]; then return 1; fi
    elif owns_port "$pid" "$port"; then
      status=$(status_of "$port")
      case "$status" in
        2[0-9][0-9]) if owns_port "$pid" "$port"; then return 0; fi ;;
        *) ANSWER="$SW_HEALTH_PATH answers ${status:-nothing}, and a 2xx is expected"
          if [ "$SW_HEALTH_GATE" != yes ]; then return 0; fi ;;
      esac
    elif [ -n "$(listeners "$port")" ]; then ANSWER="another process listens on port $port"; fi
    if [ "$SECONDS" -ge "$end" ]; then return 1; fi
    sleep 0.3
  done
}

# --- a look on a spare port -------------------------------------------------------------------------------------------

spare_pid() { if kill -0 "$SPARE_PID" 2>/dev/null; then echo "$SPARE_PID"; fi; }

stop_spare() {
  local turn
  if [ -z "$SPARE_PID" ]; then return; fi
  kill -TERM -- "-$SPARE_PID" 2>/dev/null || true
  for turn in {1..50}; do
    if ! kill -0 -- "-$SPARE_PID" 2>/dev/null; then break; fi
    if [ "$turn" -eq 30 ]; then kill -KILL -- "-$SPARE_PID" 2>/dev/null || true; fi
    sleep 0.1
  done
  wait "$SPARE_PID" 2>/dev/null || true
  SPARE_PID=''
}

try_on_spare_port() {
  local spare
  # Below the ports that the kernel hands to outgoing connections, above those of sites.
  while :; do
    spare=$((20000 + RANDOM % 10000))
    if [ -z "$(listeners "$spare")" ]; then break; fi
  done
  say "starting release $NUMBER on spare port $spare"
  LOG="$ROOT/runs/$NUMBER.spare.log"
  setsid bash --noprofile --norc "$ROOT/runs/$NUMBER.sh" "$spare" >"$LOG" 2>&1 </dev/null 8>&- 9>&- &
  SPARE_PID=$!
  if ! look "$spare" spare_pid; then
    show_log
    case "$ANSWER" in
      *answers*) fail Unhealthy "on a spare port $ANSWER" ;;
      *) fail StartFailed "the release was started on a spare port, but $ANSWER" ;;
    esac
  fi
  stop_spare
}

# --- the process that serves ------------------------------------------------------------------------------------------

# pm2 by number only: `all`, a namespace or a pattern in the place of a name would reach other clients' processes.
PICK='
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter((line) => line.startsWith("["));
let list;
for (const line of lines) try { const found = JSON.parse(line); if (Array.isArray(found)) list = found; } catch {}
if (!list) process.exit(1);
for (const one of list) if (one.name === process.argv[1]) console.log(one.pm_id + " " + (one.pid || 0));'
processes() { timeout "$SHORT_SECONDS" pm2 jlist 2>/dev/null </dev/null 8>&- 9>&- | node -e "$PICK" "$SW_CLIENT"; }
process_pid() { processes | awk '$2 > 1 && !found++ { print $2 }'; }

# quietly PROGRAM…: output into the log, because pm2 lists every client's processes.
quietly() { timeout "$SHORT_SECONDS" "$@" >>"$LOG" 2>&1 </dev/null 8>&- 9>&-; }

forget_process() {
  local list number pid members=''
  list=$(processes) || return 1
  while read -r number pid; do
    if [ -z "$number" ]; then continue; fi
    if [ "$pid" -gt 1 ]; then members="$members $(family "$pid" | tr '\n' ' ')"; fi
    quietly pm2 delete "$number" || return 1
  done <<<"$list"
  list=$(processes) || return 1
  end_leftovers $members
  [ -z "$list" ]
}

# What pm2 lost sight of would keep the port. Only processes that live in our own releases are ended.
end_leftovers() {
  local turn pid left
  for turn in {1..50}; do
    left=''
    for pid in "$@"; do
      case "$(readlink "/proc/$pid/cwd" 2>/dev/null)" in "$SITE_PATH"/.sitewright/releases/*) left="$left $pid" ;; esac
    done
    if [ -z "$left" ]; then return; fi
    if [ "$turn" -ge 30 ]; then kill -KILL $left 2>/dev/null || true; fi
    sleep 0.2
  done
}

start_process() {
  quietly pm2 start "$ROOT/runs/$1.sh" --name "$SW_CLIENT" --interpreter bash --cwd "$ROOT/releases/$1"
}

point_to() {
  ln -sfn -- "releases/$1" "$ROOT/current.new" && mv -Tf -- "$ROOT/current.new" "$ROOT/current"
  ln -sfn -- "runs/$1.sh" "$ROOT/start.new" && mv -Tf -- "$ROOT/start.new" "$ROOT/start.sh"
}

# Somebody else on our port is left alone; a port that nobody holds, or our own process holds, is ours.
check_port() {
  local pid
  if [ -z "$(listeners "$PORT")" ]; then return; fi
  pid=$(process_pid) || fail ServerNotPrepared "pm2 does not list its processes; look at pm2 as the site's user"
  if ! owns_port "$pid" "$PORT"; then fail PortTaken "another process listens on port $PORT; give this client another port"; fi
}

wait_until_free() {
  local end=$((SECONDS + LOOK_SECONDS))
  while [ -n "$(listeners "$1")" ]; do
    if [ "$SECONDS" -ge "$end" ]; then return 1; fi
    sleep 0.2
  done
}

replace() {
  local list
  # One replacement at a time for all sites of this user: they share pm2's list.
  exec 8>>"$HOME/.sitewright-processes.lock"
  flock -w 600 8 || fail DeployInProgress "another site's process is being replaced for ten minutes already; look at pm2"
  check_port
  LOG="$ROOT/runs/$NUMBER.pm2.log"
  list=$(processes) || fail ServerNotPrepared "pm2 does not list its processes; look at pm2 as the site's user"
  if [ -n "$list" ] && [ -z "$PREVIOUS" ]; then
    # A process that no release of ours started: pm2's own list is the way back to it.
    quietly pm2 save || fail ProcessListNotSaved "pm2 could not save its list; look at pm2 as the site's user"
    OLD_PROCESS=yes
  fi
  touch "$ROOT/runs/$NUMBER.ok"
  PHASE=replacing
  say "replacing the process $SW_CLIENT on port $PORT"
  forget_process || fail ReleaseFailed "pm2 could not stop the old process"
  wait_until_free "$PORT" || fail PortTaken "another process listens on port $PORT; give this client another port"
  start_process "$NUMBER" || fail ReleaseFailed "pm2 could not start the new process"
  if ! look "$PORT" process_pid; then
    if [ "$ANSWER" = "another process listens on port $PORT" ]; then fail PortTaken "$ANSWER; give this client another port"; fi
    fail ReleaseFailed "the release was started on its own port, but $ANSWER"
  fi
  quietly pm2 save || fail ProcessListNotSaved "pm2 could not save its list, so a reboot would start the old release"
  point_to "$NUMBER"
  PHASE=released
  exec 8>&-
}

# The way back, called once by `finish`.
restore() {
  if [ "$SW_ROLLBACK" != yes ]; then say "the failed release is left as it is: rollbackOnFailure is off"; return; fi
  forget_process || say "pm2 could not stop the failed process"
  if [ -n "$PREVIOUS" ]; then
    say "starting the previous release $PREVIOUS"
    wait_until_free "$PREVIOUS_PORT"
    if start_process "$PREVIOUS" && look "$PREVIOUS_PORT" process_pid; then
      point_to "$PREVIOUS"
      say "the previous release serves again"
    else
      say "the previous release does not answer either (${ANSWER:-it was not started}); look at the site"
      # A taken port needs another port, whatever else is wrong.
      if [ "$REASON" != PortTaken ]; then REASON=RollbackFailed; fi
    fi
  elif [ "$OLD_PROCESS" = yes ]; then
    say "starting the process that ran before"
    if ! quietly pm2 resurrect || [ -z "$(process_pid)" ]; then REASON=RollbackFailed; fi
  else
    say "there is no previous release; nothing runs"
  fi
  quietly pm2 save || say "pm2 could not save its list"
  discard
}

discard() {
  if [ -n "$NUMBER" ]; then remove_release "$NUMBER"; git worktree prune 2>/dev/null; fi
}

keep_three() {
  local numbers=() path number
  for path in "$ROOT"/releases/*; do
    number=${path##*/}
    if [[ "$number" =~ ^[0-9]+$ ]] && [ "$number" != "$NUMBER" ]; then numbers+=("$number"); fi
  done
  for number in $(printf '%s\n' ${numbers[@]+"${numbers[@]}"} | sort -rn | tail -n "+$KEEP"); do remove_release "$number"; done
  git worktree prune
}

main() {
  check_request
  check_server
  enter_site
  take_lock
  check_disk . "$DISK_FREE_MIB"
  sweep
  fetch
  load_environment
  check_port
  make_release
  install_packages
  migrate
  build
  try_on_spare_port
  replace
  keep_three || say "an old release could not be removed; look at the disk"
  say "released $NUMBER commit=$SHA"
}

# One line, read whole before it runs: no child can eat the rest of a script that comes through a pipe.
main </dev/null; exit 0
