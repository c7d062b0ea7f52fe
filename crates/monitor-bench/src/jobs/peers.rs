//! The peers: programs of their own in `peers`, each of which measures itself and prints what it
//! saw, so that no call crosses from one language to another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::server::Server;
use crate::{BATCH, CONCURRENCY, CONNECTIONS, Run};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

pub(crate) fn graphile_batched(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    graphile(&server.database(runtime)?, jobs, BATCH)
}

pub(crate) fn graphile_single(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    graphile(&server.database(runtime)?, jobs, 0)
}

pub(crate) fn apalis(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    let folder = scratch("apalis")?;
    let manifest = Path::new(FOLDER).join("apalis/Cargo.toml");
    let mut build = Command::new("cargo");
    build.args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--manifest-path",
    ]);
    succeed(build.arg(manifest).arg("--target-dir").arg(&folder))?;
    let mut drain = Command::new(folder.join("release/apalis-drain"));
    let numbers = [jobs, CONNECTIONS, BATCH].map(|number| number.to_string());
    run(drain.arg(server.database(runtime)?).args(numbers), jobs)
}

fn graphile(url: &str, jobs: usize, batch: usize) -> Result<Run> {
    let folder = scratch("graphile")?;
    for name in ["package.json", "package-lock.json", "drain.mjs"] {
        fs::copy(
            Path::new(FOLDER).join("graphile").join(name),
            folder.join(name),
        )?;
    }
    if !folder.join("node_modules/.package-lock.json").exists() {
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund", "--silent"]);
        succeed(install.current_dir(&folder))
            .context("it takes `apt-get install nodejs npm` to measure graphile-worker")?;
    }
    let numbers = [jobs, CONNECTIONS, CONCURRENCY, batch].map(|number| number.to_string());
    let mut drain = Command::new("node");
    drain
        .current_dir(&folder)
        .args(["drain.mjs", url])
        .args(numbers);
    run(&mut drain, jobs)
}

/// Where a peer is built: beside this program.
fn scratch(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program
        .parent()
        .unwrap_or(Path::new("."))
        .join("peers")
        .join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn run(command: &mut Command, jobs: usize) -> Result<Run> {
    let printed = succeed(command)?;
    let shown: Value = serde_json::from_slice(&printed)?;
    let ms = |name: &str| shown[name].as_f64().with_context(|| format!("no {name}"));
    let each = 1e6 / jobs as f64;
    let latency_us = shown["latency_us"].as_array().into_iter().flatten();
    Ok(Run {
        enqueue_ns: ms("enqueue_ms")? * each,
        drain_ns: ms("drain_ms")? * each,
        latency_us: latency_us.filter_map(Value::as_f64).collect(),
    })
}

fn succeed(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        bail!("{:?}: {}", command.get_program(), problem.trim_end());
    }
    Ok(output.stdout)
}
