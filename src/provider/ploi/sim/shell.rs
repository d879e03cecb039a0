//! What a simulated server does with a one-off script: only lines that stand here have an effect, any other is a command
//! that is not found (exit code 127).
//!
//! The lines are written down a second time on purpose: a script that changes without this file fails in every test.

use std::collections::BTreeMap;

/// Lines that change nothing in this world.
const WITHOUT_EFFECT: [&str; 17] = [
    "START=\"/home/$SW_USER/$SW_DOMAIN/.sitewright/start.sh\"",
    "true",
    "set -eu",
    "bad=0",
    "export PATH=\"$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"",
    "export HOME=\"/home/$SW_USER\"",
    "cd -- \"$HOME\"",
    "[ \"$(pwd -P)\" = \"/home/$SW_USER/$SW_DOMAIN\" ] || { echo 'the directory of the site is a link; nothing was removed'; exit 3; }",
    "miss() { echo \"missing: $1\"; bad=1; }",
    "need() { command -v \"$1\" >/dev/null 2>&1 || miss \"$2\"; }",
    "MAJOR=$(node -p 'process.versions.node.split(\".\")[0]' 2>/dev/null || echo 0)",
    "[ \"$MAJOR\" = 0 ] || [ \"$MAJOR\" -ge 20 ] || miss \"Node.js 20 or newer (found $MAJOR)\"",
    "DISK=$(df -Pk \"/home/$SW_USER\" 2>/dev/null | awk 'NR==2 {print $4}')",
    "[ \"${DISK:-0}\" -ge 5242880 ] || miss \"5 GiB of free disk in /home/$SW_USER (found ${DISK:-0} KiB)\"",
    "MEMORY=$(awk '/^(MemTotal|SwapTotal):/ {sum += $2} END {print sum + 0}' /proc/meminfo)",
    "[ \"$MEMORY\" -ge 4000000 ] || miss \"4 GiB of memory and swap together (found $MEMORY KiB)\"",
    "NUMBERS=$(printf '%s\\n' \"$LIST\" | node -e \"$SELECT\" \"$SW_CLIENT\")",
];

/// The server as a script sees it.
pub trait Machine {
    /// Enters the directory of a site of a system user; `false`: there is none.
    fn enter(&mut self, user: &str, domain: &str) -> bool;
    /// Removes a file (or empty directory) of the entered directory.
    fn remove(&mut self, name: &str);
    /// `nginx -t`.
    fn test_web_server(&mut self) -> Result<(), String>;
    /// `nginx -s reload`.
    fn reload_web_server(&mut self);
    /// Whether a command is there.
    fn has(&self, command: &str) -> bool;
    /// Whether pm2 lists a process of exactly this name for this user.
    fn lists(&self, user: &str, name: &str) -> bool;
    /// Whether the deploy script left a release in the directory of a site.
    fn has_release(&self, user: &str, domain: &str) -> bool;
    /// Starts the release of a site that serves.
    fn start_release(&mut self, user: &str, domain: &str);
    /// `pm2 restart|stop|delete` of it.
    fn pm2(&mut self, verb: &str, user: &str, name: &str);
}

/// Runs a script as `user`; gives exit code and output.
pub fn run(machine: &mut dyn Machine, user: &str, content: &str) -> (i32, String) {
    let mut shell = Shell { machine, user, values: BTreeMap::new(), output: String::new(), bad: false };
    for (index, line) in content.lines().map(str::trim).enumerate() {
        if let Some(code) = shell.line(index + 1, line) {
            return (code, shell.output);
        }
    }
    (0, shell.output)
}

struct Shell<'a> {
    machine: &'a mut dyn Machine,
    user: &'a str,
    values: BTreeMap<String, String>,
    output: String,
    bad: bool,
}

impl Shell<'_> {
    /// One line; `Some`: the script ends with this code.
    fn line(&mut self, number: usize, line: &str) -> Option<i32> {
        if line.is_empty() || line.starts_with('#') || WITHOUT_EFFECT.contains(&line) || self.assigns(line) {
            return None;
        }
        if let Some(text) = line.strip_prefix("echo ") {
            self.say(text.trim_matches(['\'', '"']));
            return None;
        }
        if let Some(code) = line.strip_prefix("exit ") {
            return Some(if code == "\"$bad\"" { i32::from(self.bad) } else { code.parse().unwrap_or(2) });
        }
        if let Some(rest) = line.strip_prefix("need ") {
            self.need(rest);
            return None;
        }
        match self.command(line) {
            Some(end) => end,
            None => {
                let word = line.split_whitespace().next().unwrap_or_default();
                self.say(&format!("bash: line {number}: {word}: command not found"));
                Some(127)
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.output.push_str(text);
        self.output.push('\n');
    }

    fn value(&self, name: &str) -> String {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// `NAME='value'` without a quote inside.
    fn assigns(&mut self, line: &str) -> bool {
        let Some((name, value)) = line.split_once('=') else { return false };
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let quoted = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')).filter(|v| !v.contains('\''));
        match quoted.filter(|_| named) {
            Some(value) => {
                self.values.insert(name.to_owned(), value.to_owned());
                true
            }
            None => false,
        }
    }

    fn need(&mut self, rest: &str) {
        let (command, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if !self.machine.has(command) {
            self.bad = true;
            self.say(&format!("missing: {}", text.trim_matches('\'')));
        }
    }

    /// The known commands. `None`: not known; `Some(None)`: done; `Some(Some(code))`: the script ends.
    fn command(&mut self, line: &str) -> Option<Option<i32>> {
        let (user, client) = (self.value("SW_USER"), self.value("SW_CLIENT"));
        let end = match line {
            "cd -P -- \"/home/$SW_USER/$SW_DOMAIN\"" => {
                let domain = self.value("SW_DOMAIN");
                (!self.machine.enter(&user, &domain)).then(|| {
                    self.say(&format!("bash: cd: /home/{user}/{domain}: No such file or directory"));
                    1
                })
            }
            "find . -maxdepth 1 -type f -name index.html -delete" => self.find("index.html"),
            "find . -maxdepth 1 -type f -name index.php -delete" => self.find("index.php"),
            "find . -maxdepth 1 -type d -name public -empty -delete" => self.find("public"),
            "nginx -t" => self.as_root().or_else(|| self.test()),
            "nginx -s reload" => self.as_root().or_else(|| {
                self.machine.reload_web_server();
                None
            }),
            "command -v pm2 >/dev/null 2>&1 || [ -d \"$HOME/.pm2\" ] || { echo 'pm2 was never used here'; exit 0; }" => {
                (!self.machine.has("pm2")).then(|| {
                    self.say("pm2 was never used here");
                    0
                })
            }
            "LIST=$(pm2 jlist)" | "pm2 save --force" => (!self.machine.has("pm2")).then_some(127),
            "[ -n \"$NUMBERS\" ] || [ -e \"$START\" ] || { echo 'there is no release to start; a deploy makes one'; exit 4; }" =>
            {
                let domain = self.value("SW_DOMAIN");
                let known = self.machine.lists(self.user, &client) || self.machine.has_release(&user, &domain);
                (!known).then(|| {
                    self.say("there is no release to start; a deploy makes one");
                    4
                })
            }
            "[ -n \"$NUMBERS\" ] || pm2 start \"$START\" --name \"$SW_CLIENT\" --interpreter bash" => {
                if !self.machine.lists(self.user, &client) {
                    let domain = self.value("SW_DOMAIN");
                    self.machine.start_release(&user, &domain);
                }
                None
            }
            "for n in $NUMBERS; do pm2 restart \"$n\"; done" => self.pm2("restart", &client),
            "for n in $NUMBERS; do pm2 stop \"$n\"; done" => self.pm2("stop", &client),
            "for n in $NUMBERS; do pm2 delete \"$n\"; done" => self.pm2("delete", &client),
            _ => return None,
        };
        Some(end)
    }

    fn as_root(&mut self) -> Option<i32> {
        (self.user != "root").then(|| {
            self.say("nginx: [alert] permission denied");
            1
        })
    }

    fn test(&mut self) -> Option<i32> {
        match self.machine.test_web_server() {
            Ok(()) => {
                self.say("nginx: configuration file /etc/nginx/nginx.conf test is successful");
                None
            }
            Err(words) => {
                self.say(&format!(
                    "nginx: [emerg] {words}\nnginx: configuration file /etc/nginx/nginx.conf test failed"
                ));
                Some(1)
            }
        }
    }

    /// The placeholder belongs to root; nobody else can delete it.
    fn find(&mut self, name: &str) -> Option<i32> {
        if self.user != "root" {
            self.say(&format!("find: cannot delete './{name}': Permission denied"));
            return Some(1);
        }
        self.machine.remove(name);
        None
    }

    fn pm2(&mut self, verb: &str, client: &str) -> Option<i32> {
        let user = self.user;
        if self.machine.lists(user, client) {
            self.machine.pm2(verb, user, client);
        }
        None
    }
}
