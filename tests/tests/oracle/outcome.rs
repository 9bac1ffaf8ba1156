//! How a call ended, in words that hold for every player, and whether it may have.

use crate::program::{Client, End, Fields, Plan, Program, data, name};
use http::HeaderMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it came.
    Answered {
        status: u16,
        headers: Vec<(String, String)>,
        data: Vec<u8>,
        trailers: Vec<(String, String)>,
    },
    /// The client gave it up when so much had come.
    Cancelled { data: Vec<u8> },
    /// The stream was reset, or its request broke off.
    Reset { data: Vec<u8>, why: String },
    /// The server did not look at it.
    NotTaken,
    /// Anything else.
    Broken(String),
}

/// The fields that programs speak of, in one order.
pub(crate) fn ours(map: &HeaderMap) -> Vec<(String, String)> {
    let mut found: Vec<_> = map
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-") || name.as_str() == "grpc-status")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    // The order of one name's values counts.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

pub(crate) fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (number, value) in fields {
        let name: http::HeaderName = name(*number).parse().unwrap();
        map.append(name, value.parse().unwrap());
    }
    map
}

pub(crate) fn with_status(mut map: HeaderMap, code: u8) -> HeaderMap {
    map.insert("grpc-status", u16::from(code).into());
    map
}

/// What is wrong with this end of a call, if anything is.
pub(crate) fn judge(program: &Program, plan: &Plan, outcome: &Outcome) -> Option<String> {
    let data = data(&plan.answer.messages);
    let headers = map(&plan.answer.headers);
    let whole = match &plan.answer.end {
        End::Status { code, fields } => Some(Outcome::Answered {
            status: 200,
            headers: ours(&headers),
            data: data.clone(),
            trailers: ours(&with_status(map(fields), *code)),
        }),
        End::HeadAlone { code } => Some(Outcome::Answered {
            status: 200,
            headers: ours(&with_status(headers, *code)),
            data: Vec::new(),
            trailers: Vec::new(),
        }),
        End::Fails => None,
    };
    let is_allowed = match outcome {
        Outcome::Answered { .. } => {
            whole.as_ref() == Some(outcome)
                && plan.client != Client::CancelsAtOnce
                && (!plan.breaks_off() || plan.may_overtake())
        }
        Outcome::Cancelled { data: came } => plan.client != Client::Reads && data.starts_with(came),
        Outcome::Reset { data: came, .. } => {
            (plan.breaks_off() || matches!(plan.answer.end, End::Fails)) && data.starts_with(came)
        }
        Outcome::NotTaken => program.goaway_after.is_some() || program.has_resets(),
        Outcome::Broken(_) => false,
    };
    (!is_allowed).then(|| {
        let wanted = whole.map_or_else(|| "a reset".to_owned(), |whole| brief(&whole));
        format!("{} instead of {wanted}", brief(outcome))
    })
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered {
            status,
            headers,
            data,
            trailers,
        } => format!("{status} {headers:?}, {} B, {trailers:?}", data.len()),
        Outcome::Cancelled { data } => format!("cancelled after {} B", data.len()),
        Outcome::Reset { data, why } => format!("reset after {} B: {why}", data.len()),
        Outcome::NotTaken => "not taken".to_owned(),
        Outcome::Broken(why) => format!("broken: {why}"),
    }
}
