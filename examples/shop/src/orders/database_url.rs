//! Where orders are kept, as `DATABASE_URL` says.

use crate::chain::Chain;
use std::{fmt, path::PathBuf, str::FromStr};

/// A database that orders can be kept in.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file of this process's own: `sqlite:PATH`.
    Sqlite(PathBuf),
    /// A server: `postgres://USER:PASSWORD@HOST/DATABASE`.
    Postgres(Box<tokio_postgres::Config>),
}

/// Why a text names no database. Never repeats the text: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// The scheme is missing or another database's.
    #[error("it is neither `sqlite:PATH` nor `postgres://USER:PASSWORD@HOST/DATABASE`")]
    Scheme,
    /// `sqlite:` with nothing behind it.
    #[error("`sqlite:` needs the path of a file: `sqlite:orders.db`")]
    NoPath,
    /// `:memory:`, which forgets.
    #[error("orders are kept in a file, not in memory: `sqlite:orders.db`")]
    Memory,
    /// What follows `postgres://` is malformed.
    #[error("it is no Postgres address: {}", Chain(.0))]
    Postgres(tokio_postgres::Error),
}

// === impl DatabaseUrl ===

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // Both `sqlite:PATH` and `sqlite://PATH` are in use.
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(InvalidDatabaseUrl::NoPath),
                ":memory:" => Err(InvalidDatabaseUrl::Memory),
                path => Ok(Self::Sqlite(path.into())),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let config = text.parse().map_err(InvalidDatabaseUrl::Postgres)?;
            return Ok(Self::Postgres(Box::new(config)));
        }
        Err(InvalidDatabaseUrl::Scheme)
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            // Its own Debug leaves the password out.
            Self::Postgres(config) => f.debug_tuple("Postgres").field(config).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_takes_a_path_in_either_spelling() {
        for (text, path) in [
            ("sqlite:orders.db", "orders.db"),
            ("sqlite:/data/orders.db", "/data/orders.db"),
            ("sqlite:///data/orders.db", "/data/orders.db"),
        ] {
            match text.parse().unwrap() {
                DatabaseUrl::Sqlite(parsed) => assert_eq!(parsed, PathBuf::from(path)),
                other => panic!("{text} → {other:?}"),
            }
        }
        assert!(matches!(
            "sqlite:".parse::<DatabaseUrl>(),
            Err(InvalidDatabaseUrl::NoPath)
        ));
        let memory = "sqlite::memory:".parse::<DatabaseUrl>();
        assert!(matches!(memory, Err(InvalidDatabaseUrl::Memory)));
    }

    #[test]
    fn postgres_is_shown_without_its_password() {
        let url: DatabaseUrl = "postgres://shop:hidden@db/shop".parse().unwrap();
        let shown = format!("{url:?}");
        assert!(
            shown.contains("Postgres") && !shown.contains("hidden"),
            "{shown}"
        );
        let wrong = "postgres://shop:hidden@db:port/shop"
            .parse::<DatabaseUrl>()
            .unwrap_err();
        assert!(!wrong.to_string().contains("hidden"), "{wrong}");
    }
}
