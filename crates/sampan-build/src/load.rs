//! Finds .proto files and what they import, and compiles them. No protoc.

use crate::error::{Error, Fault};
use crate::source::Sources;
use crate::{builtin, diagnose, scan};
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{File, FileResolver};
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
    if files.is_empty() {
        return Err(Fault::new("no .proto file was named")
            .with_hint("name at least one to compile")
            .into());
    }
    let (files, faults) = find(files, includes);
    if !faults.is_empty() {
        return Err(Error::new(faults));
    }
    let mut faults = Vec::new();
    let roots = if includes.is_empty() {
        roots_of(&files)
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
    for file in &files {
        let Some(name) = resolver.resolve_path(file) else {
            faults.push(resolver.outside(file));
            continue;
        };
        // One file's faults do not hide another's.
        if let Err(error) = compiler.open_file(file) {
            let mut found = found.borrow_mut();
            if found.faults.is_empty() {
                faults.extend(diagnose::faults(
                    &error,
                    &found.sources,
                    &resolver.roots_listed(),
                ));
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

/// The files as they are given, or else under an import root, as protoc finds them.
fn find(files: &[PathBuf], includes: &[PathBuf]) -> (Vec<PathBuf>, Vec<Fault>) {
    let mut found = Vec::with_capacity(files.len());
    let mut faults = Vec::new();
    for file in files {
        let under_roots = includes.iter().map(|root| root.join(file));
        match std::iter::once(file.clone())
            .chain(under_roots)
            .find(|path| path.is_file())
        {
            Some(path) => found.push(path),
            None => faults.push(no_such_file(file)),
        }
    }
    (found, faults)
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
        builtin::Resolver.open_file(name)
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
}

fn without_dots(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| !matches!(part, std::path::Component::CurDir))
        .collect()
}
