//! Draws the figures of the documents, by simulations in virtual time.
//!
//! `figures FOLDER [--check]`: writes the pictures into the folder, or says which of them are not
//! as they would be written. Seeds are fixed and no clock is read, so equal code draws equal
//! pictures.

#![forbid(unsafe_code)]

mod chart;
mod contention;
mod recovery;
mod svg;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

/// A picture with the name of its file.
type Picture = (&'static str, String);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (folder, check) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder] if !folder.starts_with('-') => (folder, false),
        [folder, "--check"] => (folder, true),
        _ => {
            eprintln!("usage: figures FOLDER [--check]");
            return ExitCode::from(2);
        }
    };
    let mut pictures: Vec<Picture> = contention::pictures();
    pictures.push(recovery::picture());
    let mut all_well = true;
    for (name, picture) in pictures {
        let path = Path::new(folder).join(name);
        all_well &= if check {
            is_current(&path, &picture)
        } else {
            write(&path, &picture)
        };
    }
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_current(path: &Path, picture: &str) -> bool {
    let current = fs::read_to_string(path).is_ok_and(|text| text == picture);
    if !current {
        eprintln!(
            "{} is not what would be drawn: cargo xtask figures",
            path.display()
        );
    }
    current
}

fn write(path: &Path, picture: &str) -> bool {
    let folder = path.parent().unwrap_or(Path::new("."));
    match fs::create_dir_all(folder).and_then(|()| fs::write(path, picture)) {
        Ok(()) => {
            println!("{}", path.display());
            true
        }
        Err(error) => {
            eprintln!("cannot write {}: {error}", path.display());
            false
        }
    }
}
