//! Tells what the compiler found in Sampan's own form.

use crate::error::Fault;
use crate::source::{Place, Source, Sources};
use crate::{builtin, scan};
use miette::Diagnostic;
use sampan_wire::suggest;
use std::ops::Range;

/// What options are called, and the files that declare them.
const OPTIONS: [(&str, &str); 2] = [
    ("google.api.http", "google/api/annotations.proto"),
    ("sampan.v1.method", "sampan/v1/options.proto"),
];

/// Every fault of one compiler error. `roots` is where imports were looked for, for people.
pub(crate) fn faults(error: &protox::Error, sources: &Sources, roots: &str) -> Vec<Fault> {
    let message = error.to_string();
    if let Some(cycle) = message.strip_prefix("import cycle detected: ") {
        let place = cycle_place(cycle, sources);
        let hint = "move what both need into a third file";
        return vec![Fault::new(message).at(place).with_hint(hint)];
    }
    let source = error.file().and_then(|name| sources.find(name));
    let related = error.related().into_iter().flatten();
    std::iter::once(error as &dyn Diagnostic)
        .chain(related)
        .map(|diagnostic| fault(diagnostic, source, roots))
        .collect()
}

fn fault(diagnostic: &dyn Diagnostic, source: Option<&Source>, roots: &str) -> Fault {
    // Where two places are told, such as two fields of one number, the second is the new one.
    let range = diagnostic
        .labels()
        .and_then(Iterator::last)
        .map(|label| label.offset()..label.offset() + label.len());
    if let (Some(cause), Some(source), Some(option)) =
        (diagnostic.diagnostic_source(), source, &range)
    {
        return option_fault(diagnostic, &cause.to_string(), source, option);
    }
    let message = diagnostic.to_string();
    let name = quoted(&message, "'", "'").unwrap_or_default();
    let hint = if message.starts_with("import '") {
        Some(import_hint(name, roots))
    } else if message.ends_with("is not defined") {
        undefined_hint(name)
    } else {
        diagnostic.help().map(|help| help.to_string())
    };
    let message = match message.split_once(" resolves to ") {
        Some((name, _)) => format!("name {name} is not defined"),
        None => message,
    };
    let mut fault = Fault::new(message).at(place(source, range));
    fault.hint = hint;
    fault
}

/// A fault within the braces of an option, of which the compiler knows no place.
fn option_fault(
    diagnostic: &dyn Diagnostic,
    cause: &str,
    source: &Source,
    option: &Range<usize>,
) -> Fault {
    let text = source.text.get(option.clone()).unwrap_or_default();
    let within = |found: Range<usize>| option.start + found.start..option.start + found.end;
    if cause.contains("oneof 'repeat'") {
        let both = [["retry"], ["hedge"]].map(|path| scan::find_field(text, &path));
        let second = both.into_iter().flatten().max_by_key(|found| found.start);
        return both_ways().at(Some(source.place(&second.map_or(option.clone(), within))));
    }
    let word = quoted(cause, "but found '", "'").or_else(|| quoted(cause, "'", "'"));
    let found = word.and_then(|word| scan::find_word(text, word));
    let mut fault = Fault::new(format!("{diagnostic}: {cause}"))
        .at(Some(source.place(&found.map_or(option.clone(), within))));
    fault.hint = word
        .zip(quoted(cause, "not found for message '", "'").or(quoted(cause, "for enum '", "'")))
        .and_then(|(word, of)| near_in_options(word, of))
        .map(|near| format!("did you mean `{near}`?"));
    fault
}

/// The field or value of a type in Sampan's options that is nearest to this word.
fn near_in_options(word: &str, of: &str) -> Option<String> {
    let pool = builtin::options()?;
    let names: Vec<String> = match pool.get_message_by_name(of) {
        Some(message) => message
            .fields()
            .map(|field| field.name().to_owned())
            .collect(),
        None => {
            let values = pool.get_enum_by_name(of)?;
            values
                .values()
                .map(|value| value.name().to_owned())
                .collect()
        }
    };
    suggest::nearest(word, names.iter().map(String::as_str)).map(str::to_owned)
}

/// The import that closes a cycle: `a.proto -> b.proto -> a.proto`.
fn cycle_place(cycle: &str, sources: &Sources) -> Option<Place> {
    let mut files = cycle.rsplit(" -> ");
    let imported = files.next()?;
    let source = sources.find(files.next()?)?;
    let found = scan::find_word(&source.text, &format!("\"{imported}\""))?;
    Some(source.place(&found))
}

fn undefined_hint(name: &str) -> Option<String> {
    let near = suggest::nearest(name, OPTIONS.map(|(option, _)| option))?;
    let file = OPTIONS
        .iter()
        .find(|(option, _)| *option == near)
        .map(|(_, file)| *file)?;
    Some(if near == name {
        format!("add `import \"{file}\";`")
    } else {
        format!("did you mean `{near}` of {file}?")
    })
}

/// Retry and hedge on one method.
pub(crate) fn both_ways() -> Fault {
    Fault::new("a method is retried or hedged, never both")
        .with_hint("take one of the two out (gRFC A6)")
}

fn place(source: Option<&Source>, range: Option<Range<usize>>) -> Option<Place> {
    let source = source?;
    // Without a place of its own it is about the end: something is missing there.
    let end = source.text.trim_end().len();
    Some(source.place(&range.unwrap_or(end.saturating_sub(1)..end)))
}

fn import_hint(name: &str, roots: &str) -> String {
    let built_in = builtin::FILES
        .iter()
        .map(|(file, _)| *file)
        .chain(builtin::WELL_KNOWN);
    match suggest::nearest(name, built_in) {
        Some(near) => format!("did you mean `{near}`? looked in {roots}"),
        None => format!("looked in {roots}; name the folder that holds it with `include`"),
    }
}

fn quoted<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}
