//! Scripts that run at a server: constant text for each purpose under a block of quoted data lines.
//!
//! Contract: contracts/ploi.md 6.13; decisions 3, 4, 6, 19. No value reaches the text outside the data lines, and every
//! value is checked against its narrow alphabet again before it is quoted.

use crate::provider::ScriptRun;
use crate::resource::name::{ClientName, HostName};
use crate::resource::site::Purpose;

/// Ploi refuses longer contents (contracts/ploi.md 6.13).
pub const CONTENT_CHARS_MAX: usize = 7500;
/// Linux refuses longer user names (useradd).
const SYSTEM_USER_CHARS_MAX: usize = 32;

/// One script as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The user it runs as.
    pub user: String,
    /// The text.
    pub content: String,
}

/// The script of a run; the error is one clause that names the value that cannot be quoted.
pub fn script(run: &ScriptRun) -> Result<Script, String> {
    let name = ClientName::parse(&run.process).map_err(|e| e.to_string())?;
    let domain = HostName::parse(run.site.domain.as_str()).map_err(|e| e.to_string())?;
    let user = &run.site.system_user;
    if !is_system_user(user) {
        return Err("the system user is not 1 to 32 lower-case letters, digits, `_` and `-`".to_owned());
    }
    let (body, as_root) = match run.purpose {
        Purpose::ClearPlaceholder => (CLEAR_PLACEHOLDER, true),
        Purpose::ReloadWebServer => (RELOAD_WEB_SERVER, true),
        Purpose::StartProcess => (START_PROCESS, false),
        Purpose::StopProcess => (STOP_PROCESS, false),
        Purpose::DeleteProcess => (DELETE_PROCESS, false),
        Purpose::CheckServer => (CHECK_SERVER, false),
    };
    let content = format!("SW_CLIENT='{name}'\nSW_DOMAIN='{domain}'\nSW_USER='{user}'\n{PATH_LINE}{body}");
    if content.chars().count() > CONTENT_CHARS_MAX {
        return Err(format!("the script is longer than {CONTENT_CHARS_MAX} characters"));
    }
    Ok(Script { user: if as_root { "root".to_owned() } else { user.clone() }, content })
}

/// `[a-z_][a-z0-9_-]{0,31}`
fn is_system_user(text: &str) -> bool {
    let first_ok = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    first_ok
        && text.len() <= SYSTEM_USER_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

/// One-off scripts run without a login shell, whose path may lack these.
const PATH_LINE: &str = "export PATH=\"$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n";

/// As root. A directory that the site's user replaced by a link is left alone; so is everything but the three names.
const CLEAR_PLACEHOLDER: &str = r#"set -eu
cd -P -- "/home/$SW_USER/$SW_DOMAIN"
[ "$(pwd -P)" = "/home/$SW_USER/$SW_DOMAIN" ] || { echo 'the directory of the site is a link; nothing was removed'; exit 3; }
find . -maxdepth 1 -type f -name index.html -delete
find . -maxdepth 1 -type f -name index.php -delete
find . -maxdepth 1 -type d -name public -empty -delete
"#;

/// As root. The test covers every site of the server; only a text that passes is loaded.
const RELOAD_WEB_SERVER: &str = r#"set -eu
nginx -t
nginx -s reload
"#;

/// Numbers of the processes of exactly this name: pm2 itself would take `all` and the names of namespaces for more than one.
macro_rules! with_process_numbers {
    ($rest:literal) => {
        concat!(
            r#"set -eu
export HOME="/home/$SW_USER"
cd -- "$HOME"
"#,
            r#"SELECT='let t="",list;process.stdin.on("data",d=>t+=d).on("end",()=>{for(const l of t.split("\n"))if(l[0]==="[")try{const v=JSON.parse(l);if(Array.isArray(v))list=v}catch{}if(!list)process.exit(3);for(const p of list)if(p.name===process.argv[1])console.log(p.pm_id)})'
"#,
            $rest
        )
    };
}

/// As the site's user. pm2 kept command, directory and environment of a process that was stopped; one that it forgot starts
/// from the launcher that the deploy script leaves for the release that serves.
const START_PROCESS: &str = with_process_numbers!(
    r#"START="/home/$SW_USER/$SW_DOMAIN/.sitewright/start.sh"
LIST=$(pm2 jlist)
NUMBERS=$(printf '%s\n' "$LIST" | node -e "$SELECT" "$SW_CLIENT")
[ -n "$NUMBERS" ] || [ -e "$START" ] || { echo 'there is no release to start; a deploy makes one'; exit 4; }
for n in $NUMBERS; do pm2 restart "$n"; done
[ -n "$NUMBERS" ] || pm2 start "$START" --name "$SW_CLIENT" --interpreter bash
pm2 save --force
"#
);

/// As the site's user. Where pm2 never ran for this user there is nothing to stop.
const STOP_PROCESS: &str = with_process_numbers!(
    r#"command -v pm2 >/dev/null 2>&1 || [ -d "$HOME/.pm2" ] || { echo 'pm2 was never used here'; exit 0; }
LIST=$(pm2 jlist)
NUMBERS=$(printf '%s\n' "$LIST" | node -e "$SELECT" "$SW_CLIENT")
for n in $NUMBERS; do pm2 stop "$n"; done
pm2 save --force
"#
);

/// As the site's user.
const DELETE_PROCESS: &str = with_process_numbers!(
    r#"command -v pm2 >/dev/null 2>&1 || [ -d "$HOME/.pm2" ] || { echo 'pm2 was never used here'; exit 0; }
LIST=$(pm2 jlist)
NUMBERS=$(printf '%s\n' "$LIST" | node -e "$SELECT" "$SW_CLIENT")
for n in $NUMBERS; do pm2 delete "$n"; done
pm2 save --force
"#
);

/// As the site's user, read-only. 20 is the oldest Node.js that still gets security fixes' successors; 5 GiB hold three
/// releases with their modules; builds below 4 GiB of memory and swap ended out of memory in the replaced system.
const CHECK_SERVER: &str = r#"bad=0
miss() { echo "missing: $1"; bad=1; }
need() { command -v "$1" >/dev/null 2>&1 || miss "$2"; }
need node 'Node.js 20 or newer on the path of non-interactive shells'
need pm2 'pm2 on the path of non-interactive shells (npm install -g pm2)'
need git 'git'
need pg_dump 'pg_dump, for the dump before a migration (package postgresql-client)'
MAJOR=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
[ "$MAJOR" = 0 ] || [ "$MAJOR" -ge 20 ] || miss "Node.js 20 or newer (found $MAJOR)"
DISK=$(df -Pk "/home/$SW_USER" 2>/dev/null | awk 'NR==2 {print $4}')
[ "${DISK:-0}" -ge 5242880 ] || miss "5 GiB of free disk in /home/$SW_USER (found ${DISK:-0} KiB)"
MEMORY=$(awk '/^(MemTotal|SwapTotal):/ {sum += $2} END {print sum + 0}' /proc/meminfo)
[ "$MEMORY" -ge 4000000 ] || miss "4 GiB of memory and swap together (found $MEMORY KiB)"
exit "$bad"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::SiteRef;
    use crate::resource::name::{RemoteId, ServerId};
    use std::path::Path;
    use std::process::Command;

    fn run(purpose: Purpose, process: &str, user: &str) -> ScriptRun {
        let site = SiteRef {
            server: ServerId::trusted("1"),
            id: RemoteId::trusted("2"),
            domain: HostName::parse("shop.example.com").unwrap(),
            system_user: user.to_owned(),
        };
        ScriptRun { purpose, process: process.to_owned(), site }
    }

    /// Runs a script with `/home` moved below `root` and `bin` before everything on the path.
    fn bash(purpose: Purpose, root: &Path, bin: &Path) -> (i32, String) {
        let content = script(&run(purpose, "shop", "ploi")).unwrap().content;
        let content = content.replace("/home/", &format!("{}/home/", root.display()));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let out = Command::new("bash").args(["-c", &content]).env("PATH", path).output().unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn executable(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn every_script_fits_and_is_a_shell_program() {
        for purpose in Purpose::ALL {
            let script = script(&run(purpose, "shop", "ploi")).unwrap();
            for shell in ["bash", "dash"] {
                let parsed = Command::new(shell).args(["-n", "-c", &script.content]).status().unwrap();
                assert!(parsed.success(), "{shell} refuses {purpose:?}");
            }
        }
    }

    #[test]
    fn values_that_could_leave_their_quotes_are_refused() {
        assert!(script(&run(Purpose::StopProcess, "a'; rm -rf /", "ploi")).is_err());
        assert!(script(&run(Purpose::StopProcess, "shop", "ploi'$(id)")).is_err());
        assert!(script(&run(Purpose::StopProcess, "shop", "")).is_err());
    }

    #[test]
    fn clearing_removes_the_placeholder_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let site = root.join("home/ploi/shop.example.com");
        std::fs::create_dir_all(site.join("public")).unwrap();
        std::fs::create_dir_all(site.join("sub")).unwrap();
        for file in ["index.html", "index.php", "keep.txt", "sub/index.html"] {
            std::fs::write(site.join(file), "x").unwrap();
        }
        assert_eq!(bash(Purpose::ClearPlaceholder, &root, &root).0, 0);
        assert!(!site.join("index.html").exists() && !site.join("index.php").exists() && !site.join("public").exists());
        assert!(site.join("keep.txt").exists() && site.join("sub/index.html").exists());
        assert_eq!(bash(Purpose::ClearPlaceholder, &root, &root).0, 0, "a second run changes nothing");
    }

    #[test]
    fn clearing_follows_no_link() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let other = root.join("other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::create_dir_all(root.join("home/ploi")).unwrap();
        std::fs::write(other.join("index.html"), "x").unwrap();
        std::os::unix::fs::symlink(&other, root.join("home/ploi/shop.example.com")).unwrap();
        assert_eq!(bash(Purpose::ClearPlaceholder, &root, &root).0, 3);
        assert!(other.join("index.html").exists());
    }

    #[test]
    fn only_the_process_of_exactly_this_name_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/ploi")).unwrap();
        let log = root.join("log");
        let pm2 = format!(
            "#!/bin/sh\nif [ \"$1\" = jlist ]; then echo '[PM2] out-of-date 5'; echo '[{{\"name\":\"shop-2\",\"pm_id\":1}},{{\"name\":\"shop\",\"pm_id\":7}}]'; else echo \"$@\" >> '{}'; fi\n",
            log.display()
        );
        executable(&root.join("pm2"), &pm2);
        assert_eq!(bash(Purpose::StopProcess, &root, &root).0, 0);
        assert_eq!(bash(Purpose::DeleteProcess, &root, &root).0, 0);
        assert_eq!(bash(Purpose::StartProcess, &root, &root).0, 0);
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(said, "stop 7\nsave --force\ndelete 7\nsave --force\nrestart 7\nsave --force\n");
    }

    #[test]
    fn a_process_that_is_not_there_is_stopped_already_and_starts_only_from_a_release() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/ploi")).unwrap();
        let log = root.join("log");
        let pm2 =
            format!("#!/bin/sh\n[ \"$1\" != jlist ] || {{ echo '[]'; exit; }}\necho \"$@\" >> '{}'\n", log.display());
        executable(&root.join("pm2"), &pm2);
        assert_eq!(bash(Purpose::StopProcess, &root, &root).0, 0);
        assert_eq!(bash(Purpose::StartProcess, &root, &root).0, 4);
        let start = root.join("home/ploi/shop.example.com/.sitewright/start.sh");
        std::fs::create_dir_all(start.parent().unwrap()).unwrap();
        std::fs::write(&start, "").unwrap();
        assert_eq!(bash(Purpose::StartProcess, &root, &root).0, 0);
        let said = std::fs::read_to_string(&log).unwrap();
        let started = format!("start {} --name shop --interpreter bash\nsave --force\n", start.display());
        assert_eq!(said, format!("save --force\n{started}"));
    }

    #[test]
    fn a_failing_pm2_is_not_taken_for_an_empty_list() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/ploi")).unwrap();
        executable(&root.join("pm2"), "#!/bin/sh\nexit 9\n");
        assert_ne!(bash(Purpose::DeleteProcess, &root, &root).0, 0);
    }

    #[test]
    fn the_server_check_names_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("home/ploi")).unwrap();
        executable(&root.join("node"), "#!/bin/sh\necho 16\n");
        executable(&root.join("pm2"), "#!/bin/sh\n");
        let (code, said) = bash(Purpose::CheckServer, &root, &root);
        assert_eq!(code, 1);
        assert!(said.contains("missing: Node.js 20 or newer (found 16)"), "{said}");
        assert!(said.lines().all(|line| line.starts_with("missing: ")), "{said}");
        assert!(!said.contains("pm2"), "{said}");
    }
}
