//! Attributes that users put on clients and servers.

use crate::error::Fault;
use syn::{Attribute, parse::Parser};

/// Attributes of modules, structs and traits, each with what it is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    modules: Vec<(String, String)>,
    structs: Vec<(String, String)>,
    traits: Vec<(String, String)>,
}

// === impl Attributes ===

impl Attributes {
    pub(crate) fn push_mod(&mut self, path: &str, attribute: &str) {
        self.modules.push((path.to_owned(), attribute.to_owned()));
    }

    pub(crate) fn push_struct(&mut self, path: &str, attribute: &str) {
        self.structs.push((path.to_owned(), attribute.to_owned()));
    }

    pub(crate) fn push_trait(&mut self, path: &str, attribute: &str) {
        self.traits.push((path.to_owned(), attribute.to_owned()));
    }

    pub(super) fn of_mod(&self, package: &str) -> Result<Vec<Attribute>, Fault> {
        those_for(package, &self.modules)
    }

    pub(super) fn of_struct(&self, service: &str) -> Result<Vec<Attribute>, Fault> {
        those_for(service, &self.structs)
    }

    pub(super) fn of_trait(&self, name: &str) -> Result<Vec<Attribute>, Fault> {
        those_for(name, &self.traits)
    }
}

fn those_for(name: &str, all: &[(String, String)]) -> Result<Vec<Attribute>, Fault> {
    let mut found = Vec::new();
    for (path, text) in all {
        if is_for(path, name) {
            let attributes = Attribute::parse_outer
                .parse_str(text)
                .map_err(|error| Fault::new(format!("`{text}` is no attribute: {error}")))?;
            found.extend(attributes);
        }
    }
    Ok(found)
}

/// Paths that begin with a dot are for what lies under them, others for what ends so.
fn is_for(path: &str, name: &str) -> bool {
    if path == "." || path == name {
        return true;
    }
    let path_parts: Vec<_> = path.split('.').collect();
    let name_parts: Vec<_> = name.split('.').collect();
    if path.is_empty() {
        false
    } else if path.starts_with('.') {
        name_parts.starts_with(&path_parts)
    } else {
        name_parts.ends_with(&path_parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_everything_or_what_lies_under_them_or_what_ends_so() {
        for (path, name, expected) in [
            (".", "a.v1.B", true),
            ("a.v1.B", "a.v1.B", true),
            ("B", "a.v1.B", true),
            (".a", ".a.v1", true),
            (".a", ".ab.v1", false),
            ("1.B", "a.v1.B", false),
            ("", "a", false),
        ] {
            assert_eq!(is_for(path, name), expected, "{path} for {name}");
        }
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        let mut attributes = Attributes::default();
        attributes.push_struct(".", "derive(Eq)");
        assert!(attributes.of_struct("a.B").is_err());
        attributes = Attributes::default();
        attributes.push_struct(".", "#[derive(Eq)] #[must_use]");
        assert_eq!(attributes.of_struct("a.B").unwrap().len(), 2);
    }
}
