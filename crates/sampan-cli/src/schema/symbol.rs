//! One name in a pool, whatever it names.

use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, ExtensionDescriptor, FieldDescriptor,
    MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor,
};

/// What a full name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Symbol {
    Service(ServiceDescriptor),
    Method(MethodDescriptor),
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
    EnumValue(EnumValueDescriptor),
    Field(FieldDescriptor),
    Oneof(OneofDescriptor),
    Extension(ExtensionDescriptor),
}

// === impl Symbol ===

impl Symbol {
    pub(crate) fn find(pool: &DescriptorPool, name: &str) -> Option<Self> {
        if let Some(service) = pool.get_service_by_name(name) {
            return Some(Self::Service(service));
        }
        if let Some(message) = pool.get_message_by_name(name) {
            return Some(Self::Message(message));
        }
        if let Some(values) = pool.get_enum_by_name(name) {
            return Some(Self::Enum(values));
        }
        if let Some(extension) = pool.get_extension_by_name(name) {
            return Some(Self::Extension(extension));
        }
        let (parent, member) = name.rsplit_once('.')?;
        if let Some(service) = pool.get_service_by_name(parent) {
            return service
                .methods()
                .find(|method| method.name() == member)
                .map(Self::Method);
        }
        if let Some(message) = pool.get_message_by_name(parent) {
            let field = message.get_field_by_name(member).map(Self::Field);
            let oneof = || {
                message
                    .oneofs()
                    .find(|oneof| oneof.name() == member)
                    .map(Self::Oneof)
            };
            if let Some(found) = field.or_else(oneof) {
                return Some(found);
            }
        }
        // A value belongs to the scope around its enum.
        pool.all_enums()
            .flat_map(|values| values.values().collect::<Vec<_>>())
            .find(|value| value.full_name() == name)
            .map(Self::EnumValue)
    }

    /// What kind of thing it is, as in "x is a message:".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "a service",
            Self::Method(_) => "a method",
            Self::Message(_) => "a message",
            Self::Enum(_) => "an enum",
            Self::EnumValue(_) => "an enum value",
            Self::Field(_) => "a field",
            Self::Oneof(_) => "a one-of",
            Self::Extension(_) => "an extension",
        }
    }

    pub(crate) fn full_name(&self) -> &str {
        match self {
            Self::Service(it) => it.full_name(),
            Self::Method(it) => it.full_name(),
            Self::Message(it) => it.full_name(),
            Self::Enum(it) => it.full_name(),
            Self::EnumValue(it) => it.full_name(),
            Self::Field(it) => it.full_name(),
            Self::Oneof(it) => it.full_name(),
            Self::Extension(it) => it.full_name(),
        }
    }
}
