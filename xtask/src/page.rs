//! `page`: the pictures of the status page, taken of the running demonstration.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use monitor_testkit::services::{Browser, Tool};
use serde_json::json;

use crate::run::cargo;
use crate::steps::{Progress, Step};
use crate::workspace::Workspace;

/// Where the pictures are kept.
const FOLDER: &str = "docs/images";

/// One picture.
struct Picture {
    file: &'static str,
    width: u32,
    /// Pixels of the picture for each one of the page.
    scale: u32,
    scheme: &'static str,
}

const PICTURES: [Picture; 3] = [
    Picture {
        file: "status-page.png",
        width: 1000,
        scale: 1,
        scheme: "light",
    },
    Picture {
        file: "status-page-dark.png",
        width: 1000,
        scale: 1,
        scheme: "dark",
    },
    Picture {
        file: "status-page-phone.png",
        width: 390,
        scale: 2,
        scheme: "light",
    },
];

/// Builds the daemon, lets its demonstration run for `after`, and takes the pictures.
pub(crate) fn steps(workspace: &Workspace, after: Duration) -> Vec<Step<'_>> {
    let build = cargo(workspace, &["build", "--package", "monitord"]);
    let pictures = Step::new("pictures", move |progress| take(workspace, after, progress));
    vec![Step::command("build", build), pictures]
}

fn take(workspace: &Workspace, after: Duration, progress: &Progress) -> Result<String> {
    Tool::require(&[Tool::Chromium, Tool::Chromedriver])?;
    let folder = workspace.root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let demo = Demo::start(&workspace.target().join("debug/monitord"), after)?;
    progress.say(&format!(
        "{} runs for {} s first",
        demo.page,
        after.as_secs()
    ));
    thread::sleep(after);
    let browser = Browser::start()?;
    let session = browser.session()?;
    for picture in PICTURES {
        let image = picture.take(&browser, &session, &demo.page)?;
        let path = folder.join(picture.file);
        fs::write(&path, &image).with_context(|| format!("cannot write {}", path.display()))?;
        progress.print(&format!(
            "{FOLDER}/{} {} kB",
            picture.file,
            image.len().div_ceil(1000)
        ));
    }
    Ok(format!("{} pictures", PICTURES.len()))
}

impl Picture {
    /// The whole page as a PNG.
    fn take(&self, browser: &Browser, session: &str, page: &str) -> Result<Vec<u8>> {
        let devtools = |name: &str, parameters: serde_json::Value| {
            let body = json!({ "cmd": name, "params": parameters });
            browser.command(&format!("{session}/goog/cdp/execute"), &body)
        };
        let (width, scale) = (self.width, self.scale);
        devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": 800, "deviceScaleFactor": scale, "mobile": false }),
        )?;
        devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": self.scheme }] }),
        )?;
        // With one row open, to show what is in it.
        let page = format!("{page}#m-now-and-then.why");
        browser.command(&format!("{session}/url"), &json!({ "url": page }))?;
        // Until the page is live.
        thread::sleep(Duration::from_secs(2));
        let shot = devtools(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true }),
        )?;
        decode_base64(
            shot["data"]
                .as_str()
                .context("the browser returned no picture")?,
        )
    }
}

/// The running demonstration; dropping it ends it.
struct Demo {
    child: Child,
    page: String,
}

impl Demo {
    fn start(monitord: &Path, after: Duration) -> Result<Self> {
        // Should we be killed, it ends by itself a little later.
        let limit = format!("{}s", after.as_secs() + 120);
        let mut child = Command::new(monitord)
            .args(["demo", "--port", "0", "--lines", "--for", &limit])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", monitord.display()))?;
        let stdout = child
            .stdout
            .take()
            .context("the demonstration has no standard output")?;
        let mut demo = Self {
            child,
            page: String::new(),
        };
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some(page) = address(&line) {
                page.clone_into(&mut demo.page);
                // A full pipe would stop it, so somebody has to read on.
                thread::spawn(move || output.read_to_end(&mut Vec::new()));
                return Ok(demo);
            }
            line.clear();
        }
        bail!("`monitord demo` ended before it said where its page is")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first web address in a line.
fn address(line: &str) -> Option<&str> {
    let start = line.find("http://127.0.0.1:")?;
    line[start..].split_whitespace().next()
}

/// Decodes base64 with its ordinary alphabet.
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => bail!("{:?} is not a letter of base64", char::from(other)),
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode_base64(text).unwrap(), expected.as_bytes());
        }
        assert_eq!(decode_base64("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        assert!(decode_base64("Zg!=").is_err());
    }

    #[test]
    fn the_address_is_found_in_what_the_demonstration_prints() {
        assert_eq!(
            address("Page: http://127.0.0.1:4711/ (ctrl-c)\n"),
            Some("http://127.0.0.1:4711/")
        );
        assert_eq!(address("starting\n"), None);
    }
}
