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
#[error("{place} {what}")]
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
        let of_files = files
            .services()
            .map(|service| service.full_name().to_owned())
            .collect();
        Self {
            pool: files,
            of_files,
            reflection,
            opaque: BTreeSet::new(),
        }
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
            "the server has no"
        } else {
            "no file has"
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
        let too_deep = |error| Failure::because("cannot show the answer", error);
        let mut answer = decoded(self)?;
        // A type that was learnt may hold Anys of others.
        for _ in 0..any::MAX_DEPTH {
            let unknown = any::unknown_types(&answer).map_err(too_deep)?;
            if unknown.is_empty() {
                break;
            }
            for name in unknown {
                self.learn_held(name).await?;
            }
            answer = decoded(self)?;
        }
        any::wrap_opaque(&mut answer, &self.opaque).map_err(too_deep)?;
        Ok(answer)
    }

    /// Learns the type of what an Any holds, or that nobody knows it.
    async fn learn_held(&mut self, name: String) -> Result<(), Failure> {
        let is_known = matches!(self.find(&name).await?, Some(Symbol::Message(_)));
        if !is_known && !error_details::add(&name, &mut self.pool) {
            any::add_opaque(&name, &mut self.pool);
            self.opaque.insert(name);
        }
        Ok(())
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
    use crate::message::MessageFormat;
    use prost::Message;
    use prost_types::Any;
    use serde_json::json;

    #[test]
    fn a_method_is_written_with_slash_or_dot() {
        for path in ["a.v1.S/M", "/a.v1.S/M", "a.v1.S.M", ".a.v1.S.M"] {
            assert_eq!(split_method(path).unwrap(), ("a.v1.S", "M"), "{path}");
        }
        for path in ["", "M", "S/", "/M"] {
            assert_eq!(split_method(path).unwrap_err().exit_code(), 2, "{path}");
        }
    }

    /// Types of one file, without reflection.
    fn schema(text: &str) -> Schema {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.proto");
        let head = "syntax = \"proto3\"; package p; import \"google/protobuf/any.proto\";";
        std::fs::write(&path, format!("{head}{text}")).unwrap();
        Schema::new(sampan_build::load(&[path], &[folder.path()]).unwrap(), None)
    }

    fn any(name: &str, value: Vec<u8>) -> Any {
        Any {
            type_url: format!("type.googleapis.com/{name}"),
            value,
        }
    }

    async fn json_of(schema: &mut Schema, message: &str, bytes: Vec<u8>) -> serde_json::Value {
        let message = schema.pool.get_message_by_name(message).unwrap();
        let decoded = schema.decode(&message, bytes.into()).await.unwrap();
        serde_json::from_str(&MessageFormat::default().write(&decoded).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_any_is_shown_by_its_type_and_an_unknown_one_by_its_bytes() {
        let mut schema = schema(
            "message Holder { google.protobuf.Any it = 1; repeated google.protobuf.Any more = 2; }
             message Known { string name = 1; }",
        );
        let field = |number, any: &Any| {
            let mut bytes = Vec::new();
            prost::encoding::message::encode(number, any, &mut bytes);
            bytes
        };
        let known = any("p.Known", "x".to_owned().encode_to_vec());
        let unknown = any("q.Unknown", vec![1, 2]);
        let inner = field(1, &unknown);
        let message = [
            field(1, &known),
            field(2, &unknown),
            field(2, &any("p.Holder", inner)),
        ]
        .concat();
        assert_eq!(
            json_of(&mut schema, "p.Holder", message).await,
            json!({
                "it": { "@type": "type.googleapis.com/p.Known", "name": "x" },
                "more": [
                    { "@type": "type.googleapis.com/q.Unknown", "@value": "AQI=" },
                    {
                        "@type": "type.googleapis.com/p.Holder",
                        "it": { "@type": "type.googleapis.com/q.Unknown", "@value": "AQI=" },
                    },
                ],
            })
        );
    }

    #[tokio::test]
    async fn an_any_without_a_bottom_is_refused() {
        let mut schema = schema("message Holder { google.protobuf.Any it = 1; }");
        let mut message = Vec::new();
        for _ in 0..100 {
            let any = any("p.Holder", std::mem::take(&mut message));
            prost::encoding::message::encode(1, &any, &mut message);
        }
        let holder = schema.pool.get_message_by_name("p.Holder").unwrap();
        assert_eq!(
            schema
                .decode(&holder, message.into())
                .await
                .unwrap_err()
                .exit_code(),
            1
        );
    }

    #[tokio::test]
    async fn standard_details_are_shown_though_no_file_has_them() {
        let details = any("google.rpc.LocalizedMessage", b"\x0a\x02de".to_vec());
        let mut status = Vec::new();
        prost::encoding::message::encode(3, &details, &mut status);
        let mut schema = Schema::new(DescriptorPool::new(), None);
        let details = schema.decode_details(&status).await.unwrap();
        let text = MessageFormat::default().write(&details[0]).unwrap();
        assert!(text.contains("\"locale\": \"de\""), "{text}");
    }

    #[tokio::test]
    async fn a_method_that_no_file_has_names_what_was_meant() {
        let mut schema = schema("message M {} service Things { rpc Add(M) returns (M); }");
        for (path, meant) in [
            ("p.Thing/Add", Some("p.Things/Add")),
            ("p.Things/Ad", Some("p.Things/Add")),
            ("Things/Add", Some("p.Things/Add")),
            ("p.Things/Frobnicate", None),
        ] {
            match schema.method(path).await {
                Err(LookupError::NotFound(absent)) => {
                    assert_eq!(absent.meant.as_deref(), meant, "{path}");
                    assert!(!absent.by_server);
                }
                other => panic!("{path} gave {other:?}"),
            }
        }
        assert_eq!(
            schema.method("p.Things.Add").await.unwrap().full_name(),
            "p.Things.Add"
        );
    }

    #[test]
    fn a_symbol_is_found_by_its_last_part_when_the_package_is_wrong() {
        let names = [
            "grpc.health.v1.Health",
            "orders.v1.Catalog",
            "orders.v1.Orders",
        ];
        let names = names.map(str::to_owned).into_iter().collect();
        assert_eq!(
            nearest_symbol("orders.v1.Order", &names).unwrap(),
            "orders.v1.Orders"
        );
        assert_eq!(
            nearest_symbol("Catalog", &names).unwrap(),
            "orders.v1.Catalog"
        );
        assert_eq!(nearest_symbol("something.Else", &names), None);
    }
}
