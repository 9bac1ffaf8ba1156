//! What a failure looks like on standard error.

use crate::failure::{EndedWith, Failure, chain};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The text of a failure, with a line break at its end.
pub(crate) fn render(failure: &Failure) -> String {
    match failure {
        Failure::Usage(what) | Failure::Configuration(what) => format!("sampan: {what}\n"),
        Failure::Unknown {
            what,
            meant: Some(meant),
        } => {
            format!("sampan: {what}; did you mean {meant}?\n")
        }
        Failure::Unknown { what, meant: None } => format!("sampan: {what}\n"),
        Failure::Status(ended) if ended.as_json => format!("{:#}\n", status_json(ended)),
        Failure::Status(ended) => status_text(ended),
        Failure::Runtime { hint, .. } => {
            let mut text = format!("sampan: {}\n", chain(failure).join("\n  because: "));
            if let Some(hint) = hint {
                let _ = writeln!(text, "  hint: {hint}");
            }
            text
        }
    }
}

/// In the shape that grpcurl gives it.
fn status_text(ended: &EndedWith) -> String {
    let mut text = format!("ERROR:\n  Code: {:?}\n", ended.status.code());
    let _ = writeln!(text, "  Message: {}", ended.status.message());
    if !ended.details.is_empty() {
        text.push_str("  Details:\n");
    }
    for (index, detail) in ended.details.iter().enumerate() {
        let _ = writeln!(
            text,
            "  {})\t{}",
            index + 1,
            detail.replace('\n', "\n    \t")
        );
    }
    if let Some(hint) = &ended.hint {
        let _ = writeln!(text, "  Hint: {hint}");
    }
    text
}

/// As JSON of google.rpc.Status.
fn status_json(ended: &EndedWith) -> Value {
    let details = ended
        .details
        .iter()
        .map(|detail| serde_json::from_str(detail).unwrap_or_else(|_| json!(detail)));
    let mut status = json!({
        "code": i32::from(ended.status.code()),
        "message": ended.status.message(),
    });
    if !ended.details.is_empty() {
        status["details"] = details.collect();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    fn ended(as_json: bool) -> Failure {
        Failure::Status(Box::new(EndedWith {
            status: Status::not_found("no such order"),
            details: vec!["{\n  \"@type\": \"a/b.C\"\n}".to_owned()],
            hint: Some("look again".to_owned()),
            as_json,
        }))
    }

    #[test]
    fn a_status_shows_code_message_details_and_hint() {
        assert_eq!(
            render(&ended(false)),
            "ERROR:\n  Code: NotFound\n  Message: no such order\n  Details:\n  \
             1)\t{\n    \t  \"@type\": \"a/b.C\"\n    \t}\n  Hint: look again\n"
        );
    }

    #[test]
    fn a_status_can_be_json() {
        let status: Value = serde_json::from_str(&render(&ended(true))).unwrap();
        let expected = json!({
            "code": 5, "message": "no such order", "details": [{ "@type": "a/b.C" }],
        });
        assert_eq!(status, expected);
    }

    #[test]
    fn a_runtime_failure_shows_its_causes_and_a_hint() {
        let failure = Failure::because("cannot connect to a:1", "refused")
            .with_hint(Some("is it listening?".to_owned()));
        assert_eq!(
            render(&failure),
            "sampan: cannot connect to a:1\n  because: refused\n  hint: is it listening?\n"
        );
    }

    #[test]
    fn what_is_unknown_shows_what_was_meant() {
        let unknown = Failure::Unknown {
            what: "unknown flag --plantext".to_owned(),
            meant: Some("--plaintext".to_owned()),
        };
        assert_eq!(
            render(&unknown),
            "sampan: unknown flag --plantext; did you mean --plaintext?\n"
        );
    }
}
