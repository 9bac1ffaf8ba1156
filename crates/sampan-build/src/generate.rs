//! Turns compiled .proto files into Rust: one file per package.

mod attributes;
mod client;
mod descriptor_set;
mod methods;
mod names;
mod runtime;
mod server;
mod service;

use crate::builder::Settings;
use crate::builtin;
use crate::error::{Error, Fault};
use crate::load::Loaded;
use crate::policy::{self, Facts};
pub(crate) use attributes::Attributes;
use prost_build::Module;
use prost_reflect::{DescriptorPool, FileDescriptor, Kind};
pub(crate) use runtime::Runtime;
use service::{ServiceWriter, Trouble};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use syn::{Item, parse_quote};

/// Texts of the generated files by name (`orders.v1.rs`), and of which packages they are.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) files: BTreeMap<String, String>,
    /// Package to file name.
    pub(crate) packages: BTreeMap<String, String>,
}

/// What is known of every method, by its path (`/orders.v1.Orders/GetOrder`).
pub(crate) type FactsByPath = BTreeMap<String, Facts>;

/// What the crates that generated code is included in may ask of their own code only.
pub(crate) const ALLOW_LINTS: &str = "#[allow(clippy::all, clippy::nursery, clippy::pedantic, \
    clippy::restriction, dead_code, missing_docs, unreachable_pub, unused_qualifications)]";

/// Stands for it while code is formatted, so that it stays one line.
const LINTS_MARK: &str = "#[sampan_lints]";

/// Name of the file for what has no package.
const NO_PACKAGE: &str = "_";

/// Writes nothing to disk.
///
/// # Errors
/// Every refused policy, or what the generators under this one could not take.
pub(crate) fn generate(loaded: &Loaded, settings: &Settings) -> Result<Generated, Error> {
    let targets = targets(&loaded.pool, &loaded.listed, settings.imports);
    let facts = read_methods(loaded, &targets, settings)?;

    let trouble: Trouble = Rc::new(RefCell::new(Vec::new()));
    let mut config = settings.prost_config();
    config.service_generator(Box::new(ServiceWriter::new(
        settings.clone(),
        facts,
        Rc::clone(&trouble),
    )));
    let mut packages = BTreeMap::new();
    let mut requests = Vec::with_capacity(targets.len());
    for file in &targets {
        let descriptor = file.file_descriptor_proto().clone();
        let module = Module::from_protobuf_package_name(descriptor.package());
        packages.insert(
            descriptor.package().to_owned(),
            module.to_file_name_or(NO_PACKAGE),
        );
        requests.push((module, descriptor));
    }
    // It panics where two enum values get one name in Rust.
    let modules = catch_unwind(AssertUnwindSafe(|| config.generate(requests)))
        .map_err(|panic| Fault::new(text_of(&*panic)))?
        .map_err(|error| Fault::new(error.to_string()))?;
    let faults = std::mem::take(&mut *trouble.borrow_mut());
    if !faults.is_empty() {
        return Err(Error::new(faults));
    }

    let mut files = BTreeMap::new();
    for (module, text) in modules {
        let name = module.to_file_name_or(NO_PACKAGE);
        let of_package: Vec<&FileDescriptor> = targets
            .iter()
            .filter(|file| Module::from_protobuf_package_name(file.package_name()) == module)
            .collect();
        let text = settings.with_well_known_types(&text);
        let file = render(&text, &of_package).map_err(|error| {
            Fault::new(format!("the code of {name} is not Rust: {error}"))
                .with_hint("look at the attributes and paths given to the builder")
        })?;
        files.insert(name, file);
    }
    packages.retain(|_, name| files.contains_key(name));
    Ok(Generated { files, packages })
}

/// The files to write code for: those asked for and, with `imports`, what they import. Of the
/// built-in ones only what is asked for or holds a type that the others use.
fn targets(pool: &DescriptorPool, listed: &[String], imports: bool) -> Vec<FileDescriptor> {
    let mut wanted: BTreeSet<String> = listed.iter().cloned().collect();
    if imports {
        let own = pool.files().filter(|file| !builtin::contains(file.name()));
        wanted.extend(own.map(|file| file.name().to_owned()));
        let mut used: Vec<FileDescriptor> = pool
            .files()
            .filter(|file| wanted.contains(file.name()))
            .flat_map(|file| used_by(&file))
            .collect();
        while let Some(file) = used.pop() {
            if builtin::contains(file.name()) && wanted.insert(file.name().to_owned()) {
                used.extend(used_by(&file));
            }
        }
    }
    pool.files()
        .filter(|file| wanted.contains(file.name()))
        .collect()
}

/// The files whose types appear in this one's messages and methods.
fn used_by(file: &FileDescriptor) -> Vec<FileDescriptor> {
    let mut used = Vec::new();
    let mut messages: Vec<_> = file.messages().collect();
    while let Some(message) = messages.pop() {
        messages.extend(message.child_messages());
        for field in message.fields() {
            match field.kind() {
                Kind::Message(message) => used.push(message.parent_file()),
                Kind::Enum(enumeration) => used.push(enumeration.parent_file()),
                _ => {}
            }
        }
    }
    for method in file
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        used.push(method.input().parent_file());
        used.push(method.output().parent_file());
    }
    used
}

fn read_methods(
    loaded: &Loaded,
    targets: &[FileDescriptor],
    settings: &Settings,
) -> Result<FactsByPath, Error> {
    let mut facts = FactsByPath::new();
    let mut faults = Vec::new();
    for service in targets.iter().flat_map(FileDescriptor::services) {
        for method in service.methods() {
            if settings.build_client {
                faults.extend(names::fault(&method, &loaded.sources));
            }
            match policy::read(&loaded.pool, &method, &loaded.sources) {
                Ok(known) => {
                    let path = format!("/{}/{}", service.full_name(), method.name());
                    facts.insert(path, known);
                }
                Err(mut found) => faults.append(&mut found),
            }
        }
    }
    if faults.is_empty() {
        Ok(facts)
    } else {
        Err(Error::new(faults))
    }
}

fn render(text: &str, files: &[&FileDescriptor]) -> Result<String, syn::Error> {
    let mut code = syn::parse_file(text)?;
    for item in &mut code.items {
        allow_lints(item);
    }
    let code = prettyplease::unparse(&code).replace(LINTS_MARK, ALLOW_LINTS);
    let from: Vec<&str> = files.iter().map(|file| file.name()).collect();
    let set = descriptor_set::with_imports(files);
    Ok(format!(
        "// @generated by sampan-build from {}. Do not edit.\n\n{code}\n{}",
        from.join(", "),
        descriptor_set::constant(&set, ALLOW_LINTS),
    ))
}

/// An included file cannot say it once for all: each item says it, after its documentation.
fn allow_lints(item: &mut Item) {
    let attributes = match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        Item::Mod(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        _ => return,
    };
    let documented = attributes
        .iter()
        .take_while(|attribute| attribute.path().is_ident("doc"))
        .count();
    attributes.insert(documented, parse_quote!(#[sampan_lints]));
}

/// The encoded descriptors of all files, comments and places included.
pub(crate) fn complete_descriptor_set(pool: &DescriptorPool) -> Vec<u8> {
    descriptor_set::complete(pool.files())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "prost-build gave up on these files".to_owned())
}
