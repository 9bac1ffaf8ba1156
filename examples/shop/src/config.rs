//! The settings of the shop's services, checked before anything is opened.
//!
//! What a server needs besides (`PORT`, `SAMPAN_*`) is Sampan's own and read by it.

mod env;

use crate::orders::DatabaseUrl;
use sampan_wire::suggest;
use std::{collections::BTreeMap, fmt::Display, net::IpAddr, path::PathBuf, time::Duration};

/// One setting, as README.md lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the environment.
    pub name: &'static str,
    /// What holds without it; empty: nothing.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Where the catalog is.
pub const CATALOG_ADDR: Key = Key {
    name: "CATALOG_ADDR",
    default: "dns:///catalog:50051",
    meaning: "where the catalog is (orders, gateway)",
};
/// Where orders are.
pub const ORDERS_ADDR: Key = Key {
    name: "ORDERS_ADDR",
    default: "dns:///orders:50051",
    meaning: "where orders are (payments, tracking, gateway)",
};
/// Where payments are.
pub const PAYMENTS_ADDR: Key = Key {
    name: "PAYMENTS_ADDR",
    default: "dns:///payments:50051",
    meaning: "where payments are (gateway)",
};
/// Where tracking is.
pub const TRACKING_ADDR: Key = Key {
    name: "TRACKING_ADDR",
    default: "dns:///tracking:50051",
    meaning: "where tracking is (gateway)",
};
/// Where support is.
pub const SUPPORT_ADDR: Key = Key {
    name: "SUPPORT_ADDR",
    default: "dns:///support:50051",
    meaning: "where support is (gateway)",
};
/// The database of orders.
pub const DATABASE_URL: Key = Key {
    name: "DATABASE_URL",
    default: "sqlite:orders.db",
    meaning: "`sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE` (orders)",
};
/// The name a catalog replica answers with.
pub const SHOP_REPLICA: Key = Key {
    name: "SHOP_REPLICA",
    default: "",
    meaning: "the name a catalog replica answers with; its own address when unset (catalog)",
};
/// Makes a catalog process the keeper of another.
pub const SHOP_KEEPER_PORT: Key = Key {
    name: "SHOP_KEEPER_PORT",
    default: "",
    meaning: "makes the process a keeper on this port, which starts, kills and restarts the \
              replica; the dashboard looks for it at the replica's port + 100 (catalog)",
};
/// How long a killed replica stays down.
pub const SHOP_KEEPER_REVIVE: Key = Key {
    name: "SHOP_KEEPER_REVIVE",
    default: "off",
    meaning: "how long a killed replica stays down before its keeper starts it again (catalog)",
};
/// The pace of parcels.
pub const SHOP_COURIER_STEP: Key = Key {
    name: "SHOP_COURIER_STEP",
    default: "3s",
    meaning: "the time between two steps of a parcel (tracking)",
};
/// Where the page's files are.
pub const SHOP_PAGE: Key = Key {
    name: "SHOP_PAGE",
    default: "",
    meaning: "the folder of the built page; without it there is none (gateway)",
};

/// Every setting of the shop.
pub const KEYS: &[Key] = &[
    CATALOG_ADDR,
    ORDERS_ADDR,
    PAYMENTS_ADDR,
    TRACKING_ADDR,
    SUPPORT_ADDR,
    DATABASE_URL,
    SHOP_REPLICA,
    SHOP_KEEPER_PORT,
    SHOP_KEEPER_REVIVE,
    SHOP_COURIER_STEP,
    SHOP_PAGE,
];

/// The part of a process's environment that the shop looks at.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

/// Settings of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogConfig {
    /// The name to answer with.
    pub replica: Option<String>,
    /// Set when this process keeps a replica instead of being one.
    pub keeper: Option<KeeperConfig>,
    /// The keeper's process id, when it was started by one.
    pub kept_by: Option<u32>,
}

/// Settings of a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperConfig {
    /// All of the service's addresses, as for the service itself.
    pub host: IpAddr,
    /// Where it serves.
    pub port: u16,
    /// How long a killed replica stays down; without it until it is started.
    pub revive: Option<Duration>,
}

/// Settings of orders.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// Where orders are kept.
    pub database: DatabaseUrl,
    /// Target of the catalog.
    pub catalog: String,
}

/// Settings of payments.
#[derive(Clone, Debug)]
pub struct PaymentsConfig {
    /// Target of orders.
    pub orders: String,
}

/// Settings of tracking.
#[derive(Clone, Debug)]
pub struct TrackingConfig {
    /// Target of orders.
    pub orders: String,
    /// Time between two steps of a parcel.
    pub courier_step: Duration,
}

/// Settings of support: it has none, so only unknown keys can be wrong.
#[derive(Clone, Copy, Debug)]
pub struct SupportConfig;

/// Settings of the gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Target of the catalog.
    pub catalog: String,
    /// Target of orders.
    pub orders: String,
    /// Target of payments.
    pub payments: String,
    /// Target of tracking.
    pub tracking: String,
    /// Target of support.
    pub support: String,
    /// The folder of the page.
    pub page: Option<PathBuf>,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.join("\n"))]
pub struct ConfigError {
    faults: Vec<String>,
}

/// Reads settings and collects what is wrong with them.
struct Reader<'a> {
    environment: &'a Environment,
    faults: Vec<String>,
}

/// The key by which a keeper tells its replica who it is. Not a user's setting.
pub(crate) const KEPT_BY: &str = "SHOP_KEPT_BY";

const MAX_REPLICA_NAME: usize = 64;

// === impl Environment ===

impl Environment {
    /// What this process was started with.
    #[must_use]
    pub fn of_process() -> Self {
        env::of_process()
    }

    /// These keys and values; an empty value is as good as none.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: pairs
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        }
    }

    /// What the catalog needs.
    ///
    /// # Errors
    /// Names every wrong or unknown key.
    pub fn catalog(&self) -> Result<CatalogConfig, ConfigError> {
        let mut reader = Reader::new(self);
        let replica = reader.replica();
        let keeper = reader.keeper();
        let kept_by = reader.parsed(KEPT_BY, "a process id", |text| text.parse().ok());
        reader.finish(CatalogConfig {
            replica,
            keeper,
            kept_by,
        })
    }

    /// What orders needs.
    ///
    /// # Errors
    /// Names every wrong or unknown key.
    pub fn orders(&self) -> Result<OrdersConfig, ConfigError> {
        let mut reader = Reader::new(self);
        let catalog = reader.target(CATALOG_ADDR);
        let text = self.text(DATABASE_URL.name).unwrap_or(DATABASE_URL.default);
        match text.parse() {
            Ok(database) => reader.finish(OrdersConfig { database, catalog }),
            Err(error) => {
                // The value may hold a password, so it is not repeated.
                reader.fault(format!("{}: {error}", DATABASE_URL.name));
                Err(ConfigError {
                    faults: reader.faults,
                })
            }
        }
    }

    /// What payments needs.
    ///
    /// # Errors
    /// Names every wrong or unknown key.
    pub fn payments(&self) -> Result<PaymentsConfig, ConfigError> {
        let reader = Reader::new(self);
        let orders = reader.target(ORDERS_ADDR);
        reader.finish(PaymentsConfig { orders })
    }

    /// What tracking needs.
    ///
    /// # Errors
    /// Names every wrong or unknown key.
    pub fn tracking(&self) -> Result<TrackingConfig, ConfigError> {
        let mut reader = Reader::new(self);
        let orders = reader.target(ORDERS_ADDR);
        let courier_step = reader
            .duration(SHOP_COURIER_STEP)
            .unwrap_or(const { Duration::from_secs(3) });
        reader.finish(TrackingConfig {
            orders,
            courier_step,
        })
    }

    /// What support needs.
    ///
    /// # Errors
    /// Names every unknown key.
    pub fn support(&self) -> Result<SupportConfig, ConfigError> {
        Reader::new(self).finish(SupportConfig)
    }

    /// What the gateway needs.
    ///
    /// # Errors
    /// Names every wrong or unknown key.
    pub fn gateway(&self) -> Result<GatewayConfig, ConfigError> {
        let mut reader = Reader::new(self);
        let config = GatewayConfig {
            catalog: reader.target(CATALOG_ADDR),
            orders: reader.target(ORDERS_ADDR),
            payments: reader.target(PAYMENTS_ADDR),
            tracking: reader.target(TRACKING_ADDR),
            support: reader.target(SUPPORT_ADDR),
            page: self.text(SHOP_PAGE.name).map(PathBuf::from),
        };
        if let Some(page) = &config.page
            && !page.join("index.html").is_file()
        {
            let page = page.display();
            reader.fault(format!(
                "SHOP_PAGE: there is no index.html in {page}: build the page there first \
                 (npm ci && npm run build in examples/shop/page)"
            ));
        }
        reader.finish(config)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(environment: &'a Environment) -> Self {
        let mut reader = Self {
            environment,
            faults: Vec::new(),
        };
        let names = || KEYS.iter().map(|key| key.name);
        for name in environment
            .values
            .keys()
            .filter(|name| name.starts_with("SHOP_"))
        {
            if name == KEPT_BY || names().any(|known| known == name) {
                continue;
            }
            let meant = suggest::nearest(name, names())
                .map(|known| format!(": did you mean {known}?"))
                .unwrap_or_default();
            reader.fault(format!("unknown key {name}{meant}"));
        }
        reader
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn target(&self, key: Key) -> String {
        self.environment
            .text(key.name)
            .unwrap_or(key.default)
            .to_owned()
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        wanted: impl Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.environment.text(name)?;
        let value = parse(text);
        if value.is_none() {
            self.fault(format!("{name}: `{text}` is not {wanted}"));
        }
        value
    }

    fn duration(&mut self, key: Key) -> Option<Duration> {
        self.parsed(
            key.name,
            "a duration: write 250ms, 5s or 1m",
            parse_duration,
        )
    }

    fn replica(&mut self) -> Option<String> {
        let wanted = format!("a name of at most {MAX_REPLICA_NAME} characters");
        self.parsed(SHOP_REPLICA.name, wanted, |name| {
            (name.chars().count() <= MAX_REPLICA_NAME).then(|| name.to_owned())
        })
    }

    fn keeper(&mut self) -> Option<KeeperConfig> {
        let host = self
            .parsed("SAMPAN_HOST", "an address to listen on", |text| {
                text.parse().ok()
            })
            .unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let revive = match self.environment.text(SHOP_KEEPER_REVIVE.name) {
            Some("off") => None,
            _ => self.duration(SHOP_KEEPER_REVIVE),
        };
        let port = self.parsed(
            SHOP_KEEPER_PORT.name,
            "a port, 1 to 65535",
            |text| match text.parse() {
                Ok(0) | Err(_) => None,
                Ok(port) => Some(port),
            },
        )?;
        Some(KeeperConfig { host, port, revive })
    }

    fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError {
                faults: self.faults,
            })
        }
    }
}

/// `250ms`, `5s`, `1m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().map(|&(key, value)| (key.into(), value.into())))
    }

    #[test]
    fn every_fault_is_told_at_once_with_what_was_meant() {
        let error = environment(&[("SHOP_COURIER_STP", "3s"), ("SHOP_COURIER_STEP", "soon")])
            .tracking()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown key SHOP_COURIER_STP: did you mean SHOP_COURIER_STEP?\n\
             SHOP_COURIER_STEP: `soon` is not a duration: write 250ms, 5s or 1m"
        );
    }

    #[test]
    fn a_keeper_is_made_by_its_port_alone() {
        assert_eq!(environment(&[]).catalog().unwrap().keeper, None);
        let config = environment(&[("SHOP_KEEPER_PORT", "50151")])
            .catalog()
            .unwrap();
        let keeper = KeeperConfig {
            host: [0, 0, 0, 0].into(),
            port: 50151,
            revive: None,
        };
        assert_eq!(config.keeper, Some(keeper));
        let config = environment(&[("SHOP_KEEPER_PORT", "9"), ("SHOP_KEEPER_REVIVE", "1m")]);
        let revive = config.catalog().unwrap().keeper.unwrap().revive;
        assert_eq!(revive, Some(Duration::from_secs(60)));
        assert!(environment(&[("SHOP_KEEPER_PORT", "0")]).catalog().is_err());
    }

    #[test]
    fn a_wrong_database_is_told_without_its_password() {
        let error = environment(&[("DATABASE_URL", "mysql://me:secret@host/shop")])
            .orders()
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("DATABASE_URL: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_readme_names_every_key_and_its_default() {
        let readme = include_str!("../README.md");
        for key in KEYS {
            let default = if key.default.is_empty() {
                "–".into()
            } else {
                format!("`{}`", key.default)
            };
            let row = format!("| `{}` | {default} | {} |", key.name, key.meaning);
            assert!(readme.contains(&row), "README.md lacks the row:\n{row}");
        }
    }
}
