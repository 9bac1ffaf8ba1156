//! Turns seeds from text into octets and back.
//!
//! `seeds octets FROM TO` writes the seeds of the folder FROM as octets into the folder TO;
//! `seeds text FILE` prints a file, for example what crashed, as a seed.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use fuzz_targets::seed;

const USAGE: &str = "usage: seeds octets FROM TO | seeds text FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["octets", from, to] => octets(Path::new(from), Path::new(to)),
        ["text", file] => fs::read(file)
            .map(|octets| print!("{}", seed::write(&octets)))
            .map_err(|error| format!("{file}: {error}")),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn octets(from: &Path, to: &Path) -> Result<(), String> {
    let of = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    fs::create_dir_all(to).map_err(|error| of(to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| of(from, &error))? {
        let path = entry.map_err(|error| of(from, &error))?.path();
        let text = fs::read_to_string(&path).map_err(|error| of(&path, &error))?;
        let octets = seed::parse(&text).map_err(|error| of(&path, &error))?;
        let file = to.join(path.file_stem().unwrap_or_default());
        fs::write(&file, octets).map_err(|error| of(&file, &error))?;
    }
    Ok(())
}
