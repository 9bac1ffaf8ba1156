//! Where in the file a field of an option stands.

use crate::scan;
use crate::source::{Place, Source, Sources};
use prost_reflect::{ExtensionDescriptor, Kind, MessageDescriptor, MethodDescriptor};

/// `MethodDescriptorProto.options`.
const OPTIONS: i32 = 4;

/// Finds the places of one method's policy: `option (sampan.v1.method)…` and what is in it.
pub(super) struct OptionPlaces<'a> {
    /// As in `google.protobuf.SourceCodeInfo`: path and span of each statement.
    statements: Vec<(Vec<i32>, Vec<i32>)>,
    /// Path of the option as a whole.
    base: Vec<i32>,
    /// The option's own fields.
    shape: Option<MessageDescriptor>,
    source: Option<&'a Source>,
    path: String,
    method: Option<Vec<i32>>,
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
        let locations = file.file_descriptor_proto().source_code_info.as_ref();
        let locations = locations
            .map(|info| info.location.as_slice())
            .unwrap_or_default();
        let statements = locations
            .iter()
            .filter(|location| location.path.starts_with(&base))
            .map(|location| (location.path.clone(), location.span.clone()))
            .collect();
        let method = locations
            .iter()
            .find(|location| location.path == method.path())
            .map(|location| location.span.clone());
        Self {
            statements,
            base,
            shape: match extension.kind() {
                Kind::Message(message) => Some(message),
                _ => None,
            },
            source: sources.find(file.name()),
            path: file.name().to_owned(),
            method,
        }
    }

    /// The place of a field, by names from the outside in; of what is around it where the field
    /// itself is not written down; of the method where nothing is known.
    pub(super) fn of(&self, names: &[&str]) -> Option<Place> {
        for length in (0..=names.len()).rev() {
            if let Some(place) = self.find(&names[..length]) {
                return Some(place);
            }
        }
        self.method.as_ref().map(|span| self.place(span))
    }

    /// Whether a field is written down.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.find(names).is_some()
    }

    fn find(&self, names: &[&str]) -> Option<Place> {
        let mut wanted = self.base.clone();
        let mut shape = self.shape.clone();
        for name in names {
            let field = shape?.get_field_by_name(name)?;
            wanted.push(number(field.number()));
            shape = match field.kind() {
                Kind::Message(message) => Some(message),
                _ => None,
            };
        }
        for (path, span) in &self.statements {
            // `option (sampan.v1.method).retry.max_attempts = 1;`
            if *path == wanted {
                return Some(self.place(span));
            }
            // `option (sampan.v1.method).retry = { max_attempts: 1 };`
            if wanted.starts_with(path)
                && let Some(source) = self.source
            {
                let range = source.range(span);
                let inner = &names[path.len() - self.base.len()..];
                let text = source.text.get(range.clone()).unwrap_or_default();
                if let Some(found) = scan::find_field(text, inner) {
                    return Some(
                        source.place(&(range.start + found.start..range.start + found.end)),
                    );
                }
            }
        }
        None
    }

    fn place(&self, span: &[i32]) -> Place {
        match self.source {
            Some(source) => source.place(&source.range(span)),
            None => {
                let at = |index: usize| {
                    usize::try_from(span.get(index).copied().unwrap_or(0)).unwrap_or(0) + 1
                };
                Place {
                    path: self.path.clone(),
                    line: at(0),
                    column: at(1),
                    excerpt: None,
                }
            }
        }
    }
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
