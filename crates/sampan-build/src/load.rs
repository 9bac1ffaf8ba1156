//! Finds .proto files and what they import, and compiles them. No protoc.

use crate::error::{Error, Fault};
use crate::source::{Place, Sources};
use crate::{builtin, scan};
use miette::Diagnostic;
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};
use sampan_wire::suggest;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Compiled files.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// All of them with what they import, source info and options as they were written.
    pub(crate) pool: DescriptorPool,
    /// Names of those that were asked for.
    pub(crate) listed: Vec<String>,
    pub(crate) sources: Sources,
}

/// Compiles .proto files and everything they import, for tools that call services without
/// generated code.
///
/// Imports are looked for under `includes` in order; under the roots of the files themselves
/// when `includes` is empty. `sampan/v1/options.proto`, `google/api/*` and `google/protobuf/*`
/// are found without being there.
///
/// # Errors
/// Every fault that was found, with its place.
pub fn load(
    files: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
) -> Result<DescriptorPool, Error> {
    let files: Vec<PathBuf> = files.iter().map(|file| file.as_ref().to_owned()).collect();
    let includes: Vec<PathBuf> = includes
        .iter()
        .map(|root| root.as_ref().to_owned())
        .collect();
    load_files(&files, &includes).map(|loaded| loaded.pool)
}

pub(crate) fn load_files(files: &[PathBuf], includes: &[PathBuf]) -> Result<Loaded, Error> {
    let mut faults: Vec<Fault> = files
        .iter()
        .filter(|file| !file.is_file())
        .map(|file| no_such_file(file))
        .collect();
    if files.is_empty() {
        faults
            .push(Fault::new("no .proto file was named").with_hint("name at least one to compile"));
    }
    if !faults.is_empty() {
        return Err(Error::new(faults));
    }

    let roots = if includes.is_empty() {
        roots_of(files)
    } else {
        includes.to_vec()
    };
    let found = Rc::new(RefCell::new(Found::default()));
    let resolver = Resolver {
        roots,
        found: Rc::clone(&found),
    };
    let mut listed = Vec::with_capacity(files.len());
    let mut compiler = Compiler::with_file_resolver(resolver.clone());
    for file in files {
        let Some(name) = resolver.resolve_path(file) else {
            faults.push(resolver.outside(file));
            continue;
        };
        // One file's faults do not hide another's.
        if let Err(error) = compiler.open_file(file) {
            let mut found = found.borrow_mut();
            if found.faults.is_empty() {
                faults.extend(resolver.faults_of(&error, &found.sources));
            }
            faults.append(&mut found.faults);
        }
        listed.push(name);
    }
    if !faults.is_empty() {
        return Err(Error::new(faults));
    }
    let pool = compiler.descriptor_pool();
    let sources = std::mem::take(&mut found.borrow_mut().sources);
    Ok(Loaded {
        pool,
        listed,
        sources,
    })
}

/// Where imports of these files are looked for when nobody says: above the folders that a
/// file's package names, or else at the folder called `proto` around it, or else beside it.
fn roots_of(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for file in files {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let root = above_package(file, &folder)
            .or_else(|| {
                folder
                    .ancestors()
                    .find(|ancestor| ancestor.file_name().is_some_and(|name| name == "proto"))
                    .map(Path::to_owned)
            })
            .unwrap_or(folder);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    let proto = PathBuf::from("proto");
    if proto.is_dir() && !roots.contains(&proto) {
        roots.push(proto);
    }
    roots
}

/// `proto` for `proto/orders/v1/orders.proto` of package `orders.v1`.
fn above_package(file: &Path, folder: &Path) -> Option<PathBuf> {
    let package = scan::head(&std::fs::read_to_string(file).ok()?).package?;
    let mut root = folder;
    for part in package.rsplit('.') {
        if root.file_name()? != part {
            return None;
        }
        root = root.parent()?;
    }
    Some(root.to_owned())
}

fn no_such_file(file: &Path) -> Fault {
    let fault = Fault::new(format!("{}: no such file", file.display()));
    let beside: Vec<String> = file
        .parent()
        .map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        })
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".proto"))
        .collect();
    let wanted = file.file_name().unwrap_or_default().to_string_lossy();
    match suggest::nearest(&wanted, beside.iter().map(String::as_str)) {
        Some(name) => fault.with_hint(format!(
            "did you mean {}?",
            file.with_file_name(name).display()
        )),
        None => fault.with_hint("paths are relative to the package that is built"),
    }
}

/// Looks in the roots, then among the files that are always there, and remembers what it read.
#[derive(Clone)]
struct Resolver {
    roots: Vec<PathBuf>,
    found: Rc<RefCell<Found>>,
}

#[derive(Default)]
struct Found {
    sources: Sources,
    /// What the compiler would tell less well.
    faults: Vec<Fault>,
}

// === impl Resolver ===

impl FileResolver for Resolver {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.roots.iter().find_map(|root| {
            let relative = without_dots(path)
                .strip_prefix(without_dots(root))
                .ok()?
                .to_owned();
            let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
            parts
                .map(|parts| parts.join("/"))
                .filter(|name| !name.is_empty())
        })
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        for root in &self.roots {
            let path = root.join(name);
            let Ok(text) = std::fs::read_to_string(&path) else {
                if path.is_file() {
                    // Unreadable: the compiler tells why.
                    return File::open(name, &path);
                }
                continue;
            };
            let edition = scan::head(&text).edition;
            let mut found = self.found.borrow_mut();
            found.sources.insert(name, path.display().to_string(), text);
            if let Some(edition) = edition {
                let place = found
                    .sources
                    .find(name)
                    .map(|source| source.place(&edition));
                found.faults.push(
                    Fault::new("files with an edition cannot be compiled yet")
                        .at(place)
                        .with_hint("write `syntax = \"proto3\";` (or \"proto2\") instead"),
                );
            }
            return File::open(name, &path);
        }
        if let Some((_, text)) = builtin::FILES.iter().find(|(file, _)| *file == name) {
            return File::from_source(name, text);
        }
        GoogleFileResolver::new().open_file(name)
    }
}

impl Resolver {
    fn outside(&self, file: &Path) -> Fault {
        Fault::new(format!("{}: not under any import root", file.display())).with_hint(format!(
            "the roots are {}; add the folder that its imports are relative to",
            self.roots_listed()
        ))
    }

    fn roots_listed(&self) -> String {
        let listed: Vec<String> = self
            .roots
            .iter()
            .map(|root| {
                if root.as_os_str().is_empty() {
                    ".".to_owned()
                } else {
                    root.display().to_string()
                }
            })
            .collect();
        listed.join(", ")
    }

    fn faults_of(&self, error: &protox::Error, sources: &Sources) -> Vec<Fault> {
        let source = error.file().and_then(|name| sources.find(name));
        let mut faults = Vec::new();
        let related = error.related().into_iter().flatten();
        for diagnostic in std::iter::once(error as &dyn Diagnostic).chain(related) {
            let mut message = diagnostic.to_string();
            let mut hint = diagnostic.help().map(|help| help.to_string());
            let mut range = diagnostic
                .labels()
                .and_then(|labels| labels.last())
                .map(|label| label.offset()..label.offset() + label.len());
            if let Some(name) = quoted(&message, "import '", "' not found") {
                hint = Some(self.import_hint(name));
            }
            if let Some(cause) = diagnostic.diagnostic_source() {
                let cause = cause.to_string();
                if let (Some(source), Some(option)) = (source, &range) {
                    let text = source.text.get(option.clone()).unwrap_or_default();
                    if cause.contains("oneof 'repeat'") {
                        let both = [["retry"], ["hedge"]].map(|path| scan::find_field(text, &path));
                        range = both
                            .into_iter()
                            .flatten()
                            .max_by_key(|r| r.start)
                            .map(|r| option.start + r.start..option.start + r.end);
                        message = "a method is retried or hedged, never both".to_owned();
                        hint = Some("take one of the two out (gRFC A6)".to_owned());
                        faults.push(
                            Fault::new(message)
                                .at(range.map(|r| source.place(&r)))
                                .with_hint(hint.unwrap_or_default()),
                        );
                        continue;
                    }
                    // The cause speaks of a word within the braces: show that one.
                    if let Some(word) = quoted(&cause, "'", "'")
                        && let Some(r) = scan::find_word(text, word)
                    {
                        range = Some(option.start + r.start..option.start + r.end);
                    }
                }
                message = format!("{message}: {cause}");
            }
            let place = match (source, range) {
                (Some(source), Some(range)) => Some(source.place(&range)),
                // Without a place of its own it is about the end: something is missing there.
                (Some(source), None) => Some(end_of(source)),
                (None, _) => None,
            };
            let mut fault = Fault::new(message).at(place);
            fault.hint = hint;
            faults.push(fault);
        }
        faults
    }

    fn import_hint(&self, name: &str) -> String {
        let known = builtin::FILES
            .iter()
            .map(|(file, _)| *file)
            .chain(builtin::WELL_KNOWN);
        let looked = format!("looked in {}", self.roots_listed());
        match suggest::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`? {looked}"),
            None => format!("{looked}; add the folder that holds it with `include`"),
        }
    }
}

fn end_of(source: &crate::source::Source) -> Place {
    let end = source.text.trim_end().len();
    source.place(&(end.saturating_sub(1)..end))
}

fn quoted<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

fn without_dots(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| !matches!(part, std::path::Component::CurDir))
        .collect()
}
