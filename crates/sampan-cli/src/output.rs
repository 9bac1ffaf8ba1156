//! Messages on standard output, everything else on standard error.

use crate::{
    args::{ConnectionArgs, Format},
    describe,
    failure::Failure,
};
use prost_reflect::MethodDescriptor;
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Instant,
};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

/// Prints the answer with this number, counted from 1, at once.
pub(crate) fn message(text: &str, format: Format, number: usize) -> Result<(), Failure> {
    let separator = if format == Format::Text && number > 1 {
        "\u{1e}\n"
    } else {
        ""
    };
    print(&format!("{separator}{text}\n"))
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::because("cannot write to standard output", error))
}

/// What `--verbose` and `--vv` tell about a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    verbose: bool,
    sizes: bool,
    start: Instant,
}

// === impl Log ===

impl Log {
    pub(crate) fn new(args: &ConnectionArgs) -> Self {
        Self {
            verbose: args.verbose || args.vv,
            sizes: args.vv,
            start: Instant::now(),
        }
    }

    pub(crate) fn method(self, method: &MethodDescriptor) {
        self.section("Method", || describe::method(method));
    }

    pub(crate) fn request(self, metadata: &MetadataMap) {
        self.section("Request metadata", || listed(metadata));
    }

    pub(crate) fn headers(self, metadata: &MetadataMap) {
        self.section("Response headers", || listed(metadata));
    }

    pub(crate) fn answer(self, bytes: usize) {
        if self.sizes {
            eprintln!(
                "Response of {bytes} bytes after {:.1?}",
                self.start.elapsed()
            );
        }
    }

    pub(crate) fn trailers(self, metadata: Option<&MetadataMap>) {
        self.section("Response trailers", || {
            metadata.map(listed).unwrap_or_default()
        });
    }

    fn section(self, title: &str, text: impl FnOnce() -> String) {
        if self.verbose {
            let text = text();
            let text = if text.is_empty() {
                "(empty)"
            } else {
                text.trim_end()
            };
            eprintln!("{title}:\n{text}\n");
        }
    }
}

fn listed(metadata: &MetadataMap) -> String {
    let mut text = String::new();
    for entry in metadata.iter() {
        let _ = match entry {
            KeyAndValueRef::Ascii(name, value) => {
                let value = String::from_utf8_lossy(value.as_encoded_bytes());
                writeln!(text, "{name}: {value}")
            }
            KeyAndValueRef::Binary(name, value) => {
                let value = String::from_utf8_lossy(value.as_encoded_bytes());
                writeln!(text, "{name}: {value}")
            }
        };
    }
    text
}
