//! How Dovecot is configured: whom it runs as, where it listens, whom it lets in.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::services::postgres::reserve_port;
use crate::services::process::User;

/// The only user.
pub(super) const USER: &str = "alice";

/// The password of that user.
pub(super) const PASSWORD: &str = "correct-horse";

/// Dovecot's own user, which the Debian package makes.
const DOVECOT: &str = "dovecot";

/// Four ports of the server's own.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) smtp: SocketAddr,
    pub(super) imap: SocketAddr,
    pub(super) smtps: SocketAddr,
    pub(super) imaps: SocketAddr,
    pub(super) has_tls: bool,
    /// Bound and never listening: nobody else gets the ports before Dovecot does.
    _reserved: [OwnedFd; 4],
}

impl Ports {
    pub(super) fn reserve(has_tls: bool) -> Result<Self> {
        let (smtp_port, smtp) = reserve_port()?;
        let (imap_port, imap) = reserve_port()?;
        let (smtps_port, smtps) = reserve_port()?;
        let (imaps_port, imaps) = reserve_port()?;
        Ok(Self {
            smtp,
            imap,
            smtps,
            imaps,
            has_tls,
            _reserved: [smtp_port, imap_port, smtps_port, imaps_port],
        })
    }
}

/// Whom the server runs as: the caller, or Dovecot's own user where the caller is root.
pub(super) struct Account {
    pub(super) user: Option<User>,
    name: String,
    group: String,
}

impl Account {
    pub(super) fn own() -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self {
                user: Some(User::find(&[DOVECOT])?),
                name: DOVECOT.into(),
                group: DOVECOT.into(),
            });
        }
        Ok(Self {
            user: None,
            name: id("-un")?,
            group: id("-gn")?,
        })
    }
}

fn id(option: &str) -> Result<String> {
    let output = Command::new("id")
        .arg(option)
        .output()
        .context("cannot start id")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What goes into Dovecot's configuration.
pub(super) struct Config<'a> {
    pub(super) folder: &'a Path,
    pub(super) account: &'a Account,
    pub(super) ports: &'a Ports,
    pub(super) relay: SocketAddr,
}

impl Config<'_> {
    /// Writes the configuration and all that it names. Returns the path of the main file.
    pub(super) fn write(&self, tls: Option<(&str, &str)>, settings: &str) -> Result<PathBuf> {
        let path = |name: &str| self.folder.join(name);
        fs::create_dir_all(path("run"))?;
        fs::write(path("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\n"))?;
        if let Some((certificate, key)) = tls {
            fs::write(path("certificate.pem"), certificate)?;
            fs::write(path("key.pem"), key)?;
        }
        let main = path("dovecot.conf");
        let text = format!(
            "{}{}{settings}\n",
            self.general(),
            self.listeners(tls.is_some())
        );
        fs::write(&main, text)?;
        Ok(main)
    }

    fn general(&self) -> String {
        let (folder, account, relay) = (self.folder.display(), self.account, self.relay);
        let Account { name, group, .. } = account;
        let (relay_ip, relay_port) = (relay.ip(), relay.port());
        format!(
            "base_dir = {folder}/run
state_dir = {folder}/run
log_path = /dev/stderr
protocols = imap submission
listen = 127.0.0.1
hostname = localhost
default_internal_user = {name}
default_internal_group = {group}
default_login_user = {name}
first_valid_uid = 1
first_valid_gid = 1
mail_home = {folder}/home
mail_location = maildir:~/Maildir
disable_plaintext_auth = no
auth_mechanisms = plain login
submission_relay_host = {relay_ip}
submission_relay_port = {relay_port}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={name} gid={group}
}}
# Wrong passwords are answered at once: neither a delay of its own, nor one that grows.
auth_failure_delay = 0
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
# Only root may change its root.
service stats {{
  chroot =
}}
"
        )
    }

    fn listeners(&self, has_tls: bool) -> String {
        let folder = self.folder.display();
        let tls = if has_tls {
            format!(
                "ssl = yes\nssl_cert = <{folder}/certificate.pem\nssl_key = <{folder}/key.pem\n"
            )
        } else {
            "ssl = no\n".to_owned()
        };
        let service = |name: &str, plain: SocketAddr, over_tls: SocketAddr| {
            let port = if has_tls { over_tls.port() } else { 0 };
            format!(
                "service {name}-login {{
  chroot =
  inet_listener {name} {{
    port = {}
  }}
  inet_listener {name}s {{
    port = {port}
    ssl = yes
  }}
}}
",
                plain.port()
            )
        };
        let Ports {
            smtp,
            imap,
            smtps,
            imaps,
            ..
        } = *self.ports;
        tls + &service("imap", imap, imaps) + &service("submission", smtp, smtps)
    }
}
