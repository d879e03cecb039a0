# From here on the text is the same for every client; only the lines above differ.
if [ -z "${BASH_VERSION:-}" ]; then
  echo "sitewright: this script needs bash; let the host run it with bash"
  echo "sitewright: reason=ServerNotPrepared"
  exit 10
fi
set -Eeuo pipefail
umask 077
trap '' PIPE
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE CDPATH
export GIT_TERMINAL_PROMPT=0 LC_ALL=C
export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -oBatchMode=yes}"
HOME="${HOME:-/home/$SW_SYSTEM_USER}"

# Limits. A build of a Next.js site takes one to two GiB of disk; a look lasts a twentieth of the whole time at most.
# A killed run's last question to the site outlives it by 15 s and holds its lock so long.
DISK_FREE_MIB=2048
DUMP_FREE_MIB=1024
KEEP=3
LOCK_SECONDS=20
SHORT_SECONDS=60
LOOK_SECONDS=$((SW_TIMEOUT_SECONDS / 20))
if [ "$LOOK_SECONDS" -lt 4 ]; then LOOK_SECONDS=4; fi
if [ "$LOOK_SECONDS" -gt 120 ]; then LOOK_SECONDS=120; fi
DEADLINE=$((SECONDS + SW_TIMEOUT_SECONDS))

REASON='' CHILD='' SPARE_PID='' NUMBER='' PREVIOUS='' PREVIOUS_PORT='' OLD_PROCESS=no PHASE=preparing
ROOT="$SW_SITE_DIR/.sitewright"
LOG=/dev/null

say() { printf 'sitewright: %s\n' "$*" || true; }

exit_code() {
  case "$1" in
    ServerNotPrepared) echo 10 ;; DeployInProgress) echo 11 ;; RequestInvalid) echo 12 ;; RepositoryUnreachable) echo 13 ;;
    CommitNotFound) echo 14 ;; EnvironmentUnreadable) echo 15 ;; DiskFull) echo 16 ;; InstallFailed) echo 17 ;;
    MigrationCheckFailed) echo 18 ;; MigrationRefused) echo 19 ;; BackupFailed) echo 20 ;; MigrationFailed) echo 21 ;;
    BuildFailed) echo 22 ;; StartFailed) echo 23 ;; Unhealthy) echo 24 ;; PortTaken) echo 25 ;; ReleaseFailed) echo 26 ;;
    ProcessListNotSaved) echo 27 ;; RollbackFailed) echo 28 ;; TimedOut) echo 29 ;; Interrupted) echo 30 ;; *) echo 1 ;;
  esac
}

# Ends the run: a reason, then a sentence. What must be undone is undone by `finish`.
fail() {
  REASON=$1
  shift
  say "$*"
  exit "$(exit_code "$REASON")"
}

# Runs at every end. Until the look on its own port has passed, a new release leaves nothing behind.
finish() {
  local code=$?
  trap - EXIT ERR
  trap '' TERM INT HUP
  set +e
  if [ -n "$CHILD" ]; then
    kill -TERM "$CHILD" 2>/dev/null
    wait "$CHILD" 2>/dev/null
  fi
  stop_spare
  if [ "$code" -eq 0 ] && [ "$PHASE" = released ]; then exit 0; fi
  REASON=${REASON:-Unexpected}
  if [ "$PHASE" = replacing ]; then restore; else discard; fi
  printf 'sitewright: reason=%s\n' "$REASON"
  exit "$(exit_code "$REASON")"
}
trap finish EXIT
trap 'fail Interrupted "the deploy was stopped from outside"' TERM INT HUP

# --- programs, with what is left of the time and without our locks (8, 9) -------------------------------------------

# run PROGRAM…: its exit code in CODE, its output in the log.
run() {
  local left=$((DEADLINE - SECONDS))
  CODE=0
  if [ "$left" -le 0 ]; then fail TimedOut "the deploy took longer than $SW_TIMEOUT_SECONDS seconds; raise spec.deploy.timeout or make the build faster"; fi
  : >"$LOG"
  timeout -k 10 "$left" "$@" >"$LOG" 2>&1 </dev/null 8>&- 9>&- &
  CHILD=$!
  wait "$CHILD" || CODE=$?
  CHILD=''
  if [ "$CODE" -ne 0 ] && [ "$SECONDS" -ge "$DEADLINE" ]; then
    show_log
    fail TimedOut "the deploy took longer than $SW_TIMEOUT_SECONDS seconds; raise spec.deploy.timeout or make the build faster"
  fi
}

# step REASON WORDS PROGRAM…: the program must succeed.
step() {
  local reason=$1 words=$2
  shift 2
  say "$words"
  run "$@"
  if [ "$CODE" -eq 0 ]; then return; fi
  show_log
  case "$CODE" in
    137) fail "$reason" "$words: killed, most likely for want of memory; ask for less at once or give the server more" ;;
    *) fail "$reason" "$words: ended with exit code $CODE; the lines above are its last ones" ;;
  esac
}

# The site's environment and nothing of ours: another client's variables must never reach this one's process.
LOADER='set -e; set -a; . "$3" || exit 111; set +a; HOME=$1; PATH=$2; export HOME PATH; unset PM2_HOME; cd -- "$4"; shift 4; exec "$@"'
# site ENV-FILE DIRECTORY sets SITE, the words to put before a program.
site() {
  SITE=(env -i HOME="$HOME" PATH="$PATH" USER="$SW_SYSTEM_USER" LOGNAME="$SW_SYSTEM_USER" LANG=C.UTF-8 SHELL=/bin/bash
    bash --noprofile --norc -c "$LOADER" sitewright "$HOME" "$PATH" "$1" "$2")
}
variable() {
  site "$1" "$SW_SITE_DIR"
  timeout "$SHORT_SECONDS" "${SITE[@]}" printenv "$2" 2>/dev/null </dev/null 8>&- 9>&- || true
}

# Values of the environment never appear in what the host keeps as the log.
REDACT='
const plain = new Set(["HOME","PATH","USER","LOGNAME","LANG","SHELL","PWD","OLDPWD","SHLVL","_","NODE_ENV","PORT"]);
const hide = new Set();
for (const [name, value] of Object.entries(process.env)) {
  if (plain.has(name)) continue;
  const parts = [value, ...value.split("\n")];
  try { const at = new URL(value); if (at.password) parts.push(at.password, decodeURIComponent(at.password)); } catch {}
  for (const part of parts) if (part.trim().length >= 6) hide.add(part);
}
let text = require("fs").readFileSync(0, "utf8");
for (const value of [...hide].sort((a, b) => b.length - a.length)) text = text.split(value).join("(hidden)");
process.stdout.write(text);'
show_log() {
  local words=()
  if [ -n "$NUMBER" ] && [ -f "$ROOT/runs/$NUMBER.env" ]; then
    site "$ROOT/runs/$NUMBER.env" "$SW_SITE_DIR"
    words=("${SITE[@]}" node -e "$REDACT")
  else
    words=(cat)
  fi
  { tail -n 60 -- "$LOG" | timeout "$SHORT_SECONDS" "${words[@]}" 2>/dev/null | sed -e 's#://[^/@ ]*@#://(hidden)@#g' -e 's/^/  | /'; } || true
}

# --- before anything is made ----------------------------------------------------------------------------------------

check_request() {
  BRANCH=${SW_BRANCH:-$SW_DEFAULT_BRANCH}
  COMMIT=${SW_COMMIT:-}
  case "$BRANCH" in -* | *[[:cntrl:]]*) fail RequestInvalid "the branch is not a branch name; correct spec.source.branch" ;; esac
  if [ -n "$COMMIT" ] && ! [[ "$COMMIT" =~ ^[0-9a-f]{7,40}$ ]]; then
    fail RequestInvalid "the commit is not 7 to 40 hexadecimal digits; correct spec.source.commit"
  fi
}

check_server() {
  local missing='' program major
  for program in git node pm2 timeout flock setsid ps awk df find; do
    if ! command -v "$program" >/dev/null 2>&1; then missing="$missing $program"; fi
  done
  if [ -n "$missing" ]; then fail ServerNotPrepared "not found on the PATH of a non-interactive shell:$missing; install it for all users"; fi
  major=$(node -p 'process.versions.node.split(".")[0]' </dev/null) || major=0
  if [ "$major" -lt 18 ]; then fail ServerNotPrepared "Node.js 18 or newer is needed; install it for all users"; fi
  if ! git check-ref-format "refs/heads/$BRANCH"; then fail RequestInvalid "the branch is not a branch name; correct spec.source.branch"; fi
}

enter_site() {
  local origin
  cd -- "$SW_SITE_DIR" 2>/dev/null || fail ServerNotPrepared "the site's directory is not there; wait for the site, then deploy again"
  SITE_PATH=$(pwd -P)
  if ! [ -O . ]; then fail ServerNotPrepared "the site's directory belongs to another user; run the deploy as its owner"; fi
  if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$SITE_PATH" ]; then
    fail RepositoryUnreachable "no repository is installed in the site's directory; install it, then deploy again"
  fi
  origin=$(git config --get remote.origin.url) || origin=''
  origin=${origin%/}
  origin=${origin%.git}
  case "${origin,,}" in
    *[/:]"${SW_REPOSITORY,,}") ;;
    *) fail RepositoryUnreachable "another repository than $SW_REPOSITORY is installed here; install the wanted one" ;;
  esac
}

take_lock() {
  mkdir -p -- "$ROOT/releases" "$ROOT/runs"
  chmod 700 "$ROOT" "$ROOT/runs"
  exec 9>>"$ROOT/lock"
  flock -w "$LOCK_SECONDS" 9 || fail DeployInProgress "another deploy of this site is under way; wait for its end"
  if ! grep -qsx '/.sitewright/' .git/info/exclude; then
    mkdir -p .git/info
    echo '/.sitewright/' >>.git/info/exclude
  fi
}

check_disk() {
  local free
  free=$(df -Pm -- "$1" | awk 'NR == 2 { print $4 }')
  if ! [[ "$free" =~ ^[0-9]+$ ]] || [ "$free" -lt "$2" ]; then
    fail DiskFull "${free:-an unknown number of} MiB of disk are free and $2 are needed; free some"
  fi
}

# What a run that was killed left behind. Nobody else builds here: the lock is ours.
sweep() {
  local path number
  if [ -L "$ROOT/current" ]; then PREVIOUS=$(basename -- "$(readlink "$ROOT/current")"); fi
  if ! [[ "$PREVIOUS" =~ ^[0-9]+$ ]] || ! [ -f "$ROOT/runs/$PREVIOUS.sh" ]; then PREVIOUS=''; fi
  LAST=0
  for path in "$ROOT"/releases/*; do
    number=${path##*/}
    if ! [[ "$number" =~ ^[0-9]+$ ]]; then continue; fi
    if [ "$number" -gt "$LAST" ]; then LAST=$number; fi
    if ! [ -f "$ROOT/runs/$number.ok" ] && [ "$number" != "$PREVIOUS" ]; then remove_release "$number"; fi
  done
  git worktree prune
}

remove_release() {
  git worktree remove --force "$ROOT/releases/$1" >/dev/null 2>&1 || true
  rm -rf -- "$ROOT/releases/$1" "$ROOT/runs/$1".*
}

# --- the new release ------------------------------------------------------------------------------------------------

fetch() {
  local depth=() found
  LOG="$ROOT/runs/fetch.log"
  if [ "$(git rev-parse --is-shallow-repository)" = true ]; then depth=(--unshallow); fi
  step RepositoryUnreachable "fetching $BRANCH" git fetch --no-tags --prune ${depth[@]+"${depth[@]}"} origin "+refs/heads/$BRANCH:refs/remotes/origin/$BRANCH"
  if [ -z "$COMMIT" ]; then
    SHA=$(git rev-parse --verify --quiet "refs/remotes/origin/$BRANCH^{commit}") || fail CommitNotFound "the branch has no commit"
    return
  fi
  if ! found=$(git rev-parse --verify --quiet "$COMMIT^{commit}"); then
    run git fetch --no-tags origin "$COMMIT"
    found=$(git rev-parse --verify --quiet "$COMMIT^{commit}") || fail CommitNotFound "commit $COMMIT is not in the repository; correct spec.source.commit"
  fi
  # A branch may be named like a commit; only an id that begins with what was asked for counts.
  case "$found" in "$COMMIT"*) SHA=$found ;; *) fail CommitNotFound "commit $COMMIT is not in the repository; correct spec.source.commit" ;; esac
}

load_environment() {
  NUMBER=$((LAST + 1))
  if [ -L .env ] || ! [ -f .env ]; then fail EnvironmentUnreadable "the site has no .env file; write the environment first"; fi
  cp -- .env "$ROOT/runs/$NUMBER.env"
  chmod 600 "$ROOT/runs/$NUMBER.env"
  site "$ROOT/runs/$NUMBER.env" "$SW_SITE_DIR"
  timeout "$SHORT_SECONDS" "${SITE[@]}" true >/dev/null 2>&1 </dev/null || fail EnvironmentUnreadable "the shell cannot read the site's .env file; write the environment again"
  PORT=$(variable "$ROOT/runs/$NUMBER.env" PORT)
  if ! [[ "$PORT" =~ ^[1-9][0-9]{0,4}$ ]] || [ "$PORT" -gt 65535 ]; then fail EnvironmentUnreadable "the site's .env file names no PORT; write the environment again"; fi
  if [ -n "$PREVIOUS" ]; then PREVIOUS_PORT=$(variable "$ROOT/runs/$PREVIOUS.env" PORT); fi
}

make_release() {
  RELEASE="$ROOT/releases/$NUMBER"
  LOG="$ROOT/runs/$NUMBER.log"
  step CommitNotFound "release $NUMBER is commit $SHA" git worktree add --detach --force "$RELEASE" "$SHA"
  # The shell's values are the truth; Next's own reader would expand $NAME in a file.
  rm -f -- "$RELEASE/.env" "$RELEASE/.env.local" "$RELEASE/.env.production" "$RELEASE/.env.production.local"
  write_launcher
  site "$ROOT/runs/$NUMBER.env" "$RELEASE"
  IN_RELEASE=("${SITE[@]}" env CI=1)
}

# What pm2 runs, now and after a reboot. One argument: another port than the environment's.
write_launcher() {
  local word
  {
    echo '#!/usr/bin/env bash'
    site "$ROOT/runs/$NUMBER.env" "$RELEASE"
    printf 'exec'
    for word in "${SITE[@]}" bash -c; do printf ' %q' "$word"; done
    printf " 'if [ -n \"\$1\" ]; then export PORT=\"\$1\"; fi; exec bash -c \"\$2\"' sitewright \"\${1:-}\" %q\n" "$SW_START_COMMAND"
  } >"$ROOT/runs/$NUMBER.sh"
}

install_packages() {
  step InstallFailed "installing packages" "${IN_RELEASE[@]}" bash -c "$SW_INSTALL_COMMAND"
}

# Exit 0: none waits; 10: one that looks safe; 11: one that destroys data; else: not known.
CHECK_PAYLOAD='
grep -qs "\"payload\"" package.json || exit 0
table=$(npx --no-install payload migrate:status </dev/null) || exit 1
printf "%s\n" "$table"
waiting=$(printf "%s\n" "$table" | awk "/ No / { if (match(\$0, /[0-9]+_[0-9]+[A-Za-z0-9_]*/)) print substr(\$0, RSTART, RLENGTH) }")
[ -n "$waiting" ] || exit 0
for name in $waiting; do
  file=$(find . -name node_modules -prune -o \( -name "$name.ts" -o -name "$name.js" -o -name "$name.mjs" \) -print | head -n 1)
  [ -n "$file" ] || { echo "the file of migration $name was not found"; exit 1; }
  up=$(awk "/function +down/ { on = 0 } /function +up/ { on = 1 } on" "$file")
  if printf "%s\n" "${up:-$(cat "$file")}" | grep -Eiq "drop +(table|column|schema|database)|truncate|delete +from"; then
    echo "migration $name destroys data"
    exit 11
  fi
done
exit 10'

migrate() {
  if [ "$SW_MIGRATE" != safe ]; then return; fi
  say "looking for waiting migrations"
  run "${IN_RELEASE[@]}" bash -c "${SW_CHECK_COMMAND:-$CHECK_PAYLOAD}"
  case "$CODE" in
    0) say "no migration waits"; return ;;
    10) ;;
    11) show_log; fail MigrationRefused "a waiting migration destroys data; run it by hand after a backup, or change it" ;;
    *) show_log; fail MigrationCheckFailed "whether a migration waits cannot be told (exit code $CODE); correct deploy.commands.check" ;;
  esac
  back_up
  step MigrationFailed "running the waiting migrations" "${IN_RELEASE[@]}" bash -c "$SW_MIGRATE_COMMAND"
}

# The password travels in the environment of pg_dump, where other users cannot see it, never as an argument.
DUMP='
const { spawnSync } = require("child_process");
let at;
try { at = new URL(process.env.DATABASE_URL); } catch { process.exit(3); }
if (!/^postgres(ql)?:$/.test(at.protocol)) process.exit(3);
const text = (part) => decodeURIComponent(part);
const mode = at.searchParams.get("sslmode");
const env = { ...process.env, PGHOST: at.searchParams.get("host") || text(at.hostname).replace(/^\[|\]$/g, ""), PGPORT: at.port || at.searchParams.get("port") || "5432",
  PGUSER: text(at.username), PGPASSWORD: text(at.password), PGDATABASE: text(at.pathname.slice(1)), PGCONNECT_TIMEOUT: "15" };
if (mode) env.PGSSLMODE = mode === "no-verify" ? "require" : mode;
if (at.searchParams.get("sslrootcert")) env.PGSSLROOTCERT = at.searchParams.get("sslrootcert");
const done = spawnSync("pg_dump", ["--format=custom", "--no-password", "--file", process.argv[1]], { env, stdio: ["ignore", "inherit", "inherit"] });
process.exit(done.status === null ? 1 : done.status);'

back_up() {
  local folder="$HOME/backups/$SW_CLIENT" file newest='' size=0 path
  if ! command -v pg_dump >/dev/null 2>&1; then fail BackupFailed "a migration waits and pg_dump is not installed; install the PostgreSQL client programs"; fi
  mkdir -p -- "$folder"
  chmod 700 "$folder"
  rm -f -- "$folder"/*.part
  for path in "$folder"/*.dump; do if [ -f "$path" ]; then newest=$path; fi; done
  if [ -n "$newest" ]; then size=$(($(stat -c %s -- "$newest") / 1048576)); fi
  check_disk "$folder" $((DUMP_FREE_MIB + 2 * size))
  file="$folder/$(date -u +%Y%m%dT%H%M%SZ)-$NUMBER.dump"
  say "backing the database up"
  run "${IN_RELEASE[@]}" node -e "$DUMP" "$file.part"
  if [ "$CODE" -eq 0 ] && [ -s "$file.part" ] && command -v pg_restore >/dev/null 2>&1; then run pg_restore --list "$file.part"; fi
  if [ "$CODE" -ne 0 ] || ! [ -s "$file.part" ]; then
    show_log
    rm -f -- "$file.part"
    if [ "$CODE" -eq 3 ]; then fail BackupFailed "a migration waits and DATABASE_URL names no PostgreSQL database that could be dumped; set spec.deploy.migrate to off"; fi
    fail BackupFailed "a migration waits and the database could not be dumped"
  fi
  chmod 600 "$file.part"
  mv -- "$file.part" "$file"
  newest=("$folder"/*.dump)
  while [ "${#newest[@]}" -gt "$KEEP" ]; do
    rm -f -- "${newest[0]}"
    newest=("${newest[@]:1}")
  done
}

build() {
  local line='export NODE_OPTIONS="${NODE_OPTIONS:+$NODE_OPTIONS }--max-old-space-size=$1"; exec bash -c "$2"'
  step BuildFailed "building with $SW_BUILD_MEMORY_MIB MiB" "${IN_RELEASE[@]}" bash -c "$line" sitewright "$SW_BUILD_MEMORY_MIB" "$SW_BUILD_COMMAND"
}

