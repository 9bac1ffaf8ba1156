//! Where in the file a field of an option stands.

use crate::scan;
use crate::source::{Place, Sources};
use prost_reflect::{ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor};

/// `MethodDescriptorProto.options`.
const OPTIONS: i32 = 4;

/// Finds the places of one method's policy: `option (sampan.v1.method)…` and what is in it.
pub(super) struct OptionPlaces<'a> {
    sources: &'a Sources,
    file: String,
    /// Span of the method as a whole.
    method: Option<Vec<i32>>,
    /// Path of the option as a whole.
    base: Vec<i32>,
    /// Path and span of each statement that sets some of it.
    statements: Vec<(Vec<i32>, Vec<i32>)>,
    /// The option's own fields.
    shape: Option<MessageDescriptor>,
}

// === impl OptionPlaces ===

impl<'a> OptionPlaces<'a> {
    pub(super) fn new(
        method: &MethodDescriptor,
        extension: &ExtensionDescriptor,
        sources: &'a Sources,
    ) -> Self {
        let file = method.parent_file();
        let mut base = method.path().to_vec();
        base.extend([OPTIONS, number(extension.number())]);
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let locations = info
            .map(|info| info.location.as_slice())
            .unwrap_or_default();
        Self {
            sources,
            file: file.name().to_owned(),
            method: locations
                .iter()
                .find(|location| location.path == method.path())
                .map(|location| location.span.clone()),
            statements: locations
                .iter()
                .filter(|location| location.path.starts_with(&base))
                .map(|location| (location.path.clone(), location.span.clone()))
                .collect(),
            base,
            shape: message_of(&extension.kind()),
        }
    }

    /// The place of a field, by names from the outside in; of what is around it where the field
    /// itself is not written down; of the method where nothing is known.
    pub(super) fn of(&self, names: &[&str]) -> Option<Place> {
        (0..=names.len())
            .rev()
            .find_map(|length| self.find(&names[..length]))
            .or_else(|| Some(self.sources.place(&self.file, self.method.as_ref()?)))
    }

    /// Whether a field is written down.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.find(names).is_some()
    }

    fn find(&self, names: &[&str]) -> Option<Place> {
        let wanted = self.path_of(names)?;
        self.statements.iter().find_map(|(path, span)| {
            // `option (sampan.v1.method).retry.max_attempts = 1;`
            if path.starts_with(&wanted) {
                return Some(self.sources.place(&self.file, span));
            }
            // `option (sampan.v1.method).retry = { max_attempts: 1 };`
            let inner = names.get(path.len() - self.base.len()..)?;
            if !wanted.starts_with(path) {
                return None;
            }
            let source = self.sources.find(&self.file)?;
            let range = source.range(span);
            let found = scan::find_field(source.text.get(range.clone())?, inner)?;
            Some(source.place(&(range.start + found.start..range.start + found.end)))
        })
    }

    fn path_of(&self, names: &[&str]) -> Option<Vec<i32>> {
        let mut path = self.base.clone();
        let mut shape = self.shape.clone();
        for name in names {
            let field = shape?.get_field_by_name(name)?;
            path.push(number(field.number()));
            shape = message_of(&field.kind());
        }
        Some(path)
    }
}

fn message_of(kind: &Kind) -> Option<MessageDescriptor> {
    match kind {
        Kind::Message(message) => Some(message.clone()),
        _ => None,
    }
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
