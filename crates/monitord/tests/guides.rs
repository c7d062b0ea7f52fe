//! The configurations that the guides show are valid ones.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use monitord::config::{Config, Overrides};

/// Every block of TOML in every guide is a configuration that the daemon takes as it stands.
#[test]
fn what_the_guides_show_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let guides: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let mut blocks = 0;
    for guide in guides {
        let text = fs::read_to_string(&guide).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let read = Config::parse(&guide, block.as_bytes(), &Overrides::default(), |_| None);
            if let Err(report) = read {
                panic!("{}: {report}\n{block}", guide.display());
            }
            blocks += 1;
        }
    }
    assert!(blocks > 0);
}
