//! The programs that tests start: found, or installed where that is allowed.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use monitor_testkit::services::{Missing, Tool};

use crate::run::succeeds;

/// Installs packages. Debian would start a freshly installed server at once, on its usual port;
/// the policy file, there only meanwhile, says no.
const INSTALL: &str = r#"set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "$@""#;

/// Makes sure that every program is there, and says so in a note. Missing ones are installed if
/// `install` is set and the right to do it is there.
///
/// # Errors
///
/// [`Missing`] with the one command that installs all of it.
pub(crate) fn ensure(install: bool) -> Result<String> {
    if let Err(missing) = Tool::require(&Tool::ALL) {
        match privilege() {
            Some(privilege) if install => apt_get(privilege, &missing)?,
            _ => return Err(missing.into()),
        }
        Tool::require(&Tool::ALL)?;
    }
    Ok(format!("{} programs", Tool::ALL.len()))
}

/// Prints where each program is. `false` when one is missing.
pub(crate) fn report() -> bool {
    for tool in Tool::ALL {
        match tool.find() {
            Ok(path) => println!("{:13} {}", tool.names()[0], path.display()),
            Err(_) => println!(
                "{:13} missing, needed to {}",
                tool.names()[0],
                tool.purpose()
            ),
        }
    }
    match Tool::require(&Tool::ALL) {
        Ok(()) => true,
        Err(missing) => {
            println!("\ninstall what is missing with:\n  {}", missing.command());
            false
        }
    }
}

/// The words to put before a command so that it may install packages.
fn privilege() -> Option<&'static [&'static str]> {
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return None;
    }
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

fn apt_get(privilege: &[&str], missing: &Missing) -> Result<()> {
    let packages = missing.packages();
    eprintln!("installing {}", packages.join(" "));
    let words: Vec<&str> = privilege
        .iter()
        .copied()
        .chain(["sh", "-c", INSTALL, "sh"])
        .chain(packages)
        .collect();
    let (program, arguments) = words.split_first().context("there is always a program")?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!(
            "apt-get failed ({status}); try it by hand:\n  {}",
            missing.command()
        );
    }
    Ok(())
}
