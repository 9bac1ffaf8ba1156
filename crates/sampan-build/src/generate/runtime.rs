//! Makes generated code reach everything through one path, so that a user's crate needs no
//! dependency but the runtime.

use proc_macro2::TokenStream;
use quote::quote;

/// Where generated code finds tonic, prost and the runtime's own types.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    path: String,
}

// === impl Runtime ===

impl Runtime {
    /// Behind `{crate_path}::__codegen`.
    ///
    /// # Errors
    /// When this is not a path.
    pub(crate) fn new(crate_path: &str) -> Result<Self, syn::Error> {
        syn::parse_str::<syn::Path>(crate_path)?;
        Ok(Self {
            path: format!("{crate_path}::__codegen"),
        })
    }

    /// The path of one name in it, as text.
    pub(crate) fn text(&self, name: &str) -> String {
        format!("{}::{name}", self.path)
    }

    /// The path of one name in it.
    pub(crate) fn name(&self, name: &str) -> TokenStream {
        // Both were parsed before.
        self.text(name)
            .parse()
            .unwrap_or_else(|_| quote!(compile_error!("no path")))
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            path: "::sampan::__codegen".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        assert!(Runtime::new("not a path").is_err());
    }
}
