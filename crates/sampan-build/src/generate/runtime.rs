//! Makes generated code reach everything through one path, so that a user's crate needs no
//! dependency but the runtime.

use proc_macro2::{TokenStream, TokenTree};
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

    /// Sends every path that begins with `tonic::` through the runtime.
    ///
    /// Works on tokens: paths inside of macros and attributes count too.
    pub(crate) fn reroute(&self, code: TokenStream) -> TokenStream {
        let tonic = self.name("tonic");
        let tokens: Vec<TokenTree> = code.into_iter().collect();
        let mut rerouted = TokenStream::new();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let mut inner =
                        proc_macro2::Group::new(group.delimiter(), self.reroute(group.stream()));
                    inner.set_span(group.span());
                    rerouted.extend([TokenTree::Group(inner)]);
                }
                TokenTree::Ident(ident)
                    if ident == "tonic"
                        && is_colon(tokens.get(index + 1))
                        && is_colon(tokens.get(index + 2))
                        && !(index > 0
                            && is_colon(tokens.get(index - 1))
                            && index > 1
                            && is_colon(tokens.get(index - 2))) =>
                {
                    rerouted.extend(tonic.clone());
                }
                other => rerouted.extend([other.clone()]),
            }
        }
        rerouted
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            path: "::sampan::__codegen".to_owned(),
        }
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_begin_with_tonic_are_rerouted() {
        let runtime = Runtime::new("::sampan").unwrap();
        let code = quote! {
            use tonic::codegen::*;
            fn f(a: tonic::Status, b: super::tonic::v1::Tonic) { format!("{}", tonic::x()); tonic; }
        };
        let expected = quote! {
            use ::sampan::__codegen::tonic::codegen::*;
            fn f(a: ::sampan::__codegen::tonic::Status, b: super::tonic::v1::Tonic) {
                format!("{}", ::sampan::__codegen::tonic::x());
                tonic;
            }
        };
        assert_eq!(runtime.reroute(code).to_string(), expected.to_string());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert!(Runtime::new("not a path").is_err());
    }
}
