//! Where types come from: files that the user names, the server's reflection, or both.
//!
//! One [`DescriptorPool`] grows during a run: what was asked for once is not asked for again.

mod any;
mod error_details;
pub(crate) mod files;
mod reflection;
mod symbol;

use crate::failure::Failure;
pub(crate) use any::type_name;
use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
pub(crate) use reflection::Reflection;
use sampan_wire::suggest;
use std::collections::BTreeSet;
pub(crate) use symbol::Symbol;

/// An Any may hold an Any; so many deep their types are looked up.
const MAX_ANY_DEPTH: usize = 16;

/// The types known so far and where more of them can be had.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pool: DescriptorPool,
    /// The services of the files that the user named.
    of_files: BTreeSet<String>,
    reflection: Option<Reflection>,
    /// Types of an Any that nobody knows; see [`any::add_opaque`].
    opaque: BTreeSet<String>,
}

/// A method that cannot be called because nobody has it.
#[derive(Debug, thiserror::Error)]
#[error("{place} has no {what}")]
pub(crate) struct NotFound {
    what: String,
    place: &'static str,
    /// The name that was probably meant.
    pub(crate) meant: Option<String>,
    /// Whether the server itself said so.
    pub(crate) by_server: bool,
}

/// Why a method or symbol could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error(transparent)]
    Failed(#[from] Failure),
}

// === impl LookupError ===

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Failed(failure) => failure,
            LookupError::NotFound(absent) => {
                let hint = absent
                    .meant
                    .as_ref()
                    .map(|meant| format!("did you mean {meant}?"));
                Self::runtime(absent.to_string()).with_hint(hint)
            }
        }
    }
}

// === impl Schema ===

impl Schema {
    /// The types of `files`; `reflection` is asked for what they lack.
    pub(crate) fn new(files: DescriptorPool, reflection: Option<Reflection>) -> Self {
        let of_files = files.services().map(|service| service.full_name().to_owned()).collect();
        Self { pool: files, of_files, reflection, opaque: BTreeSet::new() }
    }

    /// The types of a server, by nothing but its reflection.
    pub(crate) fn of_server(reflection: Reflection) -> Self {
        Self::new(DescriptorPool::new(), Some(reflection))
    }

    /// The full names of all services, in order.
    pub(crate) async fn services(&mut self) -> Result<BTreeSet<String>, Failure> {
        match &mut self.reflection {
            Some(reflection) => Ok(reflection.services().await?.into_iter().collect()),
            None => Ok(self.of_files.clone()),
        }
    }

    /// The method at `pkg.Service/Method` or `pkg.Service.Method`.
    pub(crate) async fn method(&mut self, path: &str) -> Result<MethodDescriptor, LookupError> {
        let (service, method) = split_method(path)?;
        let Some(Symbol::Service(found)) = self.find(service).await? else {
            let services = self.services().await?;
            let meant = match nearest_symbol(service, &services) {
                Some(meant) => Some(self.spell_out(&meant, method).await?),
                None => None,
            };
            return Err(self.not_found(format!("service {service}"), meant).into());
        };
        if let Some(found) = found.methods().find(|candidate| candidate.name() == method) {
            return Ok(found);
        }
        let methods: Vec<_> = found
            .methods()
            .map(|method| method.name().to_owned())
            .collect();
        let meant = suggest::nearest(method, methods.iter().map(String::as_str))
            .map(|meant| format!("{service}/{meant}"));
        Err(self
            .not_found(format!("method {service}/{method}"), meant)
            .into())
    }

    /// `service/method`, with the method's name set right if it is nearly one of the service's.
    async fn spell_out(&mut self, service: &str, method: &str) -> Result<String, Failure> {
        let Some(Symbol::Service(found)) = self.find(service).await? else {
            return Ok(format!("{service}/{method}"));
        };
        let methods: Vec<_> = found
            .methods()
            .map(|method| method.name().to_owned())
            .collect();
        let method = suggest::nearest(method, methods.iter().map(String::as_str));
        Ok(method.map_or_else(
            || service.to_owned(),
            |method| format!("{service}/{method}"),
        ))
    }

    /// Whatever has this full name.
    pub(crate) async fn symbol(&mut self, name: &str) -> Result<Symbol, LookupError> {
        let name = name.trim_start_matches('.').replace('/', ".");
        if let Some(symbol) = self.find(&name).await? {
            return Ok(symbol);
        }
        let mut names = self.services().await?;
        names.extend(
            self.pool
                .all_messages()
                .map(|message| message.full_name().to_owned()),
        );
        names.extend(
            self.pool
                .all_enums()
                .map(|values| values.full_name().to_owned()),
        );
        let meant = nearest_symbol(&name, &names);
        Err(self.not_found(format!("symbol {name}"), meant).into())
    }

    async fn find(&mut self, name: &str) -> Result<Option<Symbol>, Failure> {
        if let Some(symbol) = Symbol::find(&self.pool, name) {
            return Ok(Some(symbol));
        }
        if let Some(reflection) = &mut self.reflection
            && reflection.fetch(name, &mut self.pool).await?
        {
            return Ok(Symbol::find(&self.pool, name));
        }
        Ok(None)
    }

    fn not_found(&self, what: String, meant: Option<String>) -> NotFound {
        let by_server = self.reflection.is_some();
        let place = if by_server {
            "the server"
        } else {
            "none of the files"
        };
        NotFound {
            what,
            place,
            meant,
            by_server,
        }
    }

    /// The same message type with every type that has been learnt since.
    pub(crate) fn latest(&self, message: &MessageDescriptor) -> MessageDescriptor {
        self.pool
            .get_message_by_name(message.full_name())
            .unwrap_or_else(|| message.clone())
    }

    /// Learns the types that a request names by `@type`, as far as they can be had.
    pub(crate) async fn learn(&mut self, types: &BTreeSet<String>) -> Result<(), Failure> {
        for name in types {
            self.find(name).await?;
        }
        Ok(())
    }

    /// Decodes a message with the types of each Any in it.
    pub(crate) async fn decode(
        &mut self,
        message: &MessageDescriptor,
        bytes: Bytes,
    ) -> Result<DynamicMessage, Failure> {
        let decoded = |schema: &Self| {
            DynamicMessage::decode(schema.latest(message), bytes.clone()).map_err(|error| {
                let name = message.full_name();
                Failure::because(format!("cannot decode the answer as {name}"), error)
            })
        };
        let mut answer = decoded(self)?;
        for _ in 0..MAX_ANY_DEPTH {
            let unknown = any::unknown_types(&answer, MAX_ANY_DEPTH);
            if unknown.is_empty() {
                break;
            }
            for name in unknown {
                if !matches!(self.find(&name).await?, Some(Symbol::Message(_)))
                    && !error_details::add(&name, &mut self.pool)
                {
                    any::add_opaque(&name, &mut self.pool);
                    self.opaque.insert(name);
                }
            }
            answer = decoded(self)?;
        }
        any::wrap_opaque(&mut answer, &self.opaque, MAX_ANY_DEPTH);
        Ok(answer)
    }

    /// The detail messages of a status.
    pub(crate) async fn decode_details(
        &mut self,
        details: &[u8],
    ) -> Result<Vec<DynamicMessage>, Failure> {
        let details = error_details::split(details)
            .map_err(|error| Failure::because("cannot decode grpc-status-details-bin", error))?;
        let any = DescriptorPool::global()
            .get_message_by_name("google.protobuf.Any")
            .ok_or_else(|| Failure::runtime("google.protobuf.Any is not known"))?;
        // Not every server's files import it.
        any::add_itself(&mut self.pool);
        let mut messages = Vec::with_capacity(details.len());
        for detail in details {
            messages.push(self.decode(&any, detail).await?);
        }
        Ok(messages)
    }
}

/// Service and method of `pkg.Service/Method`, `/pkg.Service/Method` or `pkg.Service.Method`.
fn split_method(path: &str) -> Result<(&str, &str), Failure> {
    let path = path.trim_start_matches(['/', '.']);
    path.rsplit_once('/')
        .or_else(|| path.rsplit_once('.'))
        .filter(|(service, method)| !service.is_empty() && !method.is_empty())
        .ok_or_else(|| Failure::usage(format!("\"{path}\" is no method; write pkg.Service/Method")))
}

/// The name that was probably meant: near as a whole, or with the same last part.
fn nearest_symbol(wanted: &str, names: &BTreeSet<String>) -> Option<String> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    suggest::nearest(wanted, names.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(|| {
            let lasts: Vec<String> = names.iter().map(|name| last(name)).collect();
            let meant = suggest::nearest(&last(wanted), lasts.iter().map(String::as_str))?;
            names.iter().find(|name| last(name) == meant).cloned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_written_with_slash_or_dot() {
        for path in ["a.v1.S/M", "/a.v1.S/M", "a.v1.S.M", ".a.v1.S.M"] {
            assert_eq!(split_method(path).unwrap(), ("a.v1.S", "M"), "{path}");
        }
        for path in ["", "M", "S/", "/M"] {
            assert_eq!(split_method(path).unwrap_err().exit_code(), 2, "{path}");
        }
    }

    #[test]
    fn a_symbol_is_found_by_its_last_part_when_the_package_is_wrong() {
        let names = ["grpc.health.v1.Health", "shop.v1.Catalog", "shop.v1.Orders"];
        let names = names.map(str::to_owned).into_iter().collect();
        assert_eq!(
            nearest_symbol("shop.v1.Order", &names).unwrap(),
            "shop.v1.Orders"
        );
        assert_eq!(
            nearest_symbol("Catalog", &names).unwrap(),
            "shop.v1.Catalog"
        );
        assert_eq!(nearest_symbol("something.Else", &names), None);
    }
}
