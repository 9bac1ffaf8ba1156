//! The sockets by which channels on the same host reach this server without TCP.
//!
//! For each TCP address that others can dial, a Unix socket in a folder that the containers of a
//! host share, and its services in an index there. A failure costs nothing but the sockets:
//! channels go by TCP.
//!
//! Without TLS nothing says who listens on a socket: whoever can write the folder can pose as any
//! service, where over TCP they would need its address. So plaintext sockets are opened only when
//! the folder is said to be trusted.

mod addresses;

use sampan_transport::{Address, ListenSettings, Listener, LocalDir};
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What was said of same-host sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalSettings {
    pub(crate) dir: Option<PathBuf>,
    /// Also without TLS.
    pub(crate) is_trusted: bool,
}

/// The sockets and the index of one server.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) index: Index,
}

/// Entries that say which services are here, removed on drop.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<PathBuf>,
}

// === impl Local ===

impl Local {
    /// Opens what can be opened beside `listeners`, and says in the log what cannot.
    pub(crate) fn open<'a>(
        settings: &LocalSettings,
        is_tls: bool,
        listeners: &[Listener],
        services: impl Iterator<Item = &'a str>,
        sockets: &ListenSettings,
    ) -> Self {
        let Some(dir) = &settings.dir else {
            return Self::default();
        };
        if !is_tls && !settings.is_trusted {
            tracing::info!(
                target: "sampan",
                "no same-host sockets: they need TLS, or SAMPAN_LOCAL_TRUST=1"
            );
            return Self::default();
        }
        let dir = LocalDir::new(dir);
        if let Err(error) = fs::create_dir_all(dir.path()) {
            let path = dir.path().display();
            tracing::warn!(target: "sampan", %error, "no same-host sockets: \"{path}\" cannot be made");
            return Self::default();
        }
        let mut local = Self::default();
        let services: Vec<_> = services.collect();
        for listener in listeners {
            let Address::Tcp(address) = *listener.local_address() else {
                continue;
            };
            let mut is_noted = false;
            for address in addresses::advertised(address) {
                if local.listen(&dir, address, sockets) && !is_noted {
                    // Once for each listener: its sockets are one endpoint.
                    is_noted = true;
                    local.index.note(&dir, address, &services);
                }
            }
        }
        local
    }

    fn listen(&mut self, dir: &LocalDir, address: SocketAddr, sockets: &ListenSettings) -> bool {
        let path = dir.socket(&dir.name(address));
        let bound = Listener::bind(&Address::Unix(path.clone()), sockets);
        let listener = match bound {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(target: "sampan", "no same-host socket for {address}: {error}");
                return false;
            }
        };
        // Callers of other containers run as other users, as they do over TCP.
        if let Err(error) = fs::set_permissions(&path, fs::Permissions::from_mode(0o666)) {
            tracing::debug!(%error, "a same-host socket is for this user alone");
        }
        tracing::debug!("{address} is also at {}", path.display());
        self.listeners.push(listener);
        true
    }
}

// === impl Index ===

impl Index {
    fn note(&mut self, dir: &LocalDir, address: SocketAddr, services: &[&str]) {
        let name = dir.name(address);
        for service in services {
            let Some(folder) = dir.index(service) else {
                continue;
            };
            match write_entry(&folder, &name, address) {
                Ok(entry) => self.entries.push(entry),
                Err(error) => {
                    tracing::warn!(target: "sampan", %error, "{service} is not in the same-host index");
                }
            }
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        for entry in &self.entries {
            // The folder may be gone by now.
            fs::remove_file(entry).ok();
        }
    }
}

/// Readers never see half of it: it appears by its new name.
fn write_entry(folder: &Path, name: &str, address: SocketAddr) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (entry, half) = (folder.join(name), folder.join(format!(".{name}")));
    fs::write(&half, format!("{address}\n"))?;
    fs::rename(&half, &entry)?;
    Ok(entry)
}
