//! Which of several service configs is this client's: what a DNS TXT record holds.
//!
//! Source: gRFC A2, "Canarying Changes" and "Encoding in DNS TXT Records".

use super::{
    ServiceConfig, ServiceConfigError,
    json::{Document, Node},
};

/// What a choice of service configs looks at.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The name of this host, as the system has it.
    pub hostname: &'a str,
    /// Drawn at random from 0 to 99, once per client: a choice for `percentage` p is taken when
    /// this is less than p.
    pub draw: u32,
}

/// What a TXT record with a service config begins with.
const ATTRIBUTE: &str = "grpc_config=";
const LANGUAGE: &str = "rust";

/// Takes the first choice that is for this client out of the text of a TXT record, its strings
/// put together. None when it is no service config's, or none of its choices is for this client.
///
/// # Errors
///
/// When the list, a condition, or the config that was chosen is wrong. Others are not looked at.
///
/// ```
/// use sampan_wire::service_config::{Client, choose};
/// let client = Client { hostname: "a", draw: 42 };
/// let text = r#"grpc_config=[{"percentage": 10, "serviceConfig": {}}]"#;
/// assert_eq!(choose(text, &client), Ok(None));
/// ```
pub fn choose(
    record: &str,
    client: &Client<'_>,
) -> Result<Option<ServiceConfig>, ServiceConfigError> {
    let Some(text) = record.strip_prefix(ATTRIBUTE) else {
        return Ok(None);
    };
    let document = Document::parse(text)?;
    let mut chosen = None;
    for choice in document.root().list()? {
        let is_looked_for = chosen.is_none();
        let found = choose_one(&choice, client, is_looked_for)?;
        chosen = chosen.or(found);
    }
    Ok(chosen.map(|config| ServiceConfig {
        unknown: document.into_unknown(),
        ..config
    }))
}

fn choose_one(
    choice: &Node<'_>,
    client: &Client<'_>,
    is_looked_for: bool,
) -> Result<Option<ServiceConfig>, ServiceConfigError> {
    let fields = choice.object(&[
        "clientLanguage",
        "percentage",
        "clientHostname",
        "serviceConfig",
    ])?;
    let is_language = |name: &str| name.eq_ignore_ascii_case(LANGUAGE);
    let is_host = |name: &str| name == client.hostname;
    let is_for_us = one_of(fields.field("clientLanguage"), is_language)?
        & one_of(fields.field("clientHostname"), is_host)?
        & fields
            .optional("percentage", |node| node.integer(0..=100))?
            .is_none_or(|percentage| client.draw < percentage);
    let config = fields.required("serviceConfig", "an object")?;
    if is_looked_for && is_for_us {
        ServiceConfig::read(&config).map(Some)
    } else {
        config.map().map(|_| None)
    }
}

/// An absent or empty list is for everybody.
fn one_of(
    list: Option<Node<'_>>,
    is_ours: impl Fn(&str) -> bool,
) -> Result<bool, ServiceConfigError> {
    let Some(list) = list else { return Ok(true) };
    let names = list.list()?;
    let mut is_there = names.is_empty();
    for name in &names {
        is_there |= is_ours(name.text()?);
    }
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Client<'static> = Client {
        hostname: "canary-1",
        draw: 30,
    };

    fn attempts(choices: &str) -> Option<u32> {
        let record = format!("grpc_config={choices}");
        let config = choose(&record, &CLIENT).unwrap()?;
        Some(config.retry_throttling()?.max_tokens)
    }

    /// A choice that is told by its number.
    fn choice(conditions: &str, number: u32) -> String {
        let config =
            format!(r#"{{"retryThrottling": {{"maxTokens": {number}, "tokenRatio": 1}}}}"#);
        format!(r#"{{{conditions} "serviceConfig": {config}}}"#)
    }

    #[test]
    fn the_first_choice_that_fits_in_every_way_is_taken() {
        for (conditions, fits) in [
            ("", true),
            (r#""clientLanguage": ["java", "RUST"],"#, true),
            (r#""clientLanguage": ["java"],"#, false),
            (r#""clientLanguage": [],"#, true),
            (r#""clientHostname": ["canary-1"],"#, true),
            (r#""clientHostname": ["Canary-1"],"#, false),
            (r#""percentage": 31,"#, true),
            (r#""percentage": 30,"#, false),
            (r#""percentage": 0,"#, false),
            (r#""percentage": 100, "clientHostname": ["other"],"#, false),
        ] {
            let choices = [choice(conditions, 1), choice("", 2), choice("", 3)].join(",");
            let expected = if fits { 1 } else { 2 };
            assert_eq!(
                attempts(&format!("[{choices}]")),
                Some(expected),
                "{conditions}"
            );
        }
        assert_eq!(attempts("[]"), None);
    }

    #[test]
    fn conditions_are_checked_also_behind_the_choice_and_configs_only_when_chosen() {
        let with = |second: &str| {
            let record = format!(r#"grpc_config=[{}, {second}]"#, choice("", 1));
            choose(&record, &CLIENT).map(|config| config.is_some())
        };
        let wrong = with(r#"{"percentage": 101, "serviceConfig": {}}"#).unwrap_err();
        assert_eq!(wrong.field(), "[1].percentage");
        assert_eq!(
            with(r#"{"serviceConfig": 3}"#).unwrap_err().field(),
            "[1].serviceConfig"
        );
        assert_eq!(with(r#"{"serviceConfig": {"methodConfig": 3}}"#), Ok(true));
    }

    #[test]
    fn other_records_are_none_of_ours() {
        assert_eq!(choose("v=spf1 -all", &CLIENT), Ok(None));
    }
}
