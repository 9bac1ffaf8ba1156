//! Sampan's generator as a plugin of protoc and buf.

use sampan_wire::suggest;
use std::io::{self, Read, Write};
use std::process::ExitCode;

const HELP: &str = "\
protoc-gen-sampan: generates Sampan clients and servers

    protoc --sampan_out=src/generated --sampan_opt=runtime=::sampan orders.proto

Run by protoc or buf: reads a CodeGeneratorRequest, writes a CodeGeneratorResponse.
Writes one <package>.rs for each package.

Options:
    --help       this text
    --version    the version

Parameters (--sampan_opt, or `opt:` in buf.gen.yaml; a comma in a value is `\\,`):
";

/// Exit code for a wrong command line.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => generate(),
        Some("--help" | "-h") => print(&help()),
        Some("--version" | "-V") => print(&format!(
            "protoc-gen-sampan {}\n",
            env!("CARGO_PKG_VERSION")
        )),
        Some(unknown) => {
            let hint = match suggest::nearest(unknown, ["--help", "--version"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "parameters come in the request: --sampan_opt of protoc".to_owned(),
            };
            eprintln!("protoc-gen-sampan: unknown argument `{unknown}`\n = hint: {hint}");
            ExitCode::from(USAGE)
        }
    }
}

fn generate() -> ExitCode {
    let mut request = Vec::new();
    let outcome = io::stdin()
        .read_to_end(&mut request)
        .map_err(|error| error.to_string())
        .and_then(|_| sampan_build::run_plugin(&request).map_err(|error| error.to_string()))
        .and_then(|response| {
            let mut output = io::stdout();
            let written = output.write_all(&response).and_then(|()| output.flush());
            written.map_err(|error| error.to_string())
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("protoc-gen-sampan: {text}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = HELP.to_owned();
    for (name, meaning) in sampan_build::PLUGIN_PARAMETERS {
        text.push_str(&format!("    {name:<26}{meaning}\n"));
    }
    text
}

fn print(text: &str) -> ExitCode {
    // A reader that went away is no failure of ours.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
