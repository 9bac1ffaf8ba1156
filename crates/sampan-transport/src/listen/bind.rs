//! Sets up listening sockets. What is set on them holds for the connections they accept.

use super::ListenSettings;
use crate::socket;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::Path,
};
use tokio::net::{TcpListener, UnixListener};

/// The longest path that fits a socket address, without its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn tcp(address: SocketAddr, settings: &ListenSettings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server takes its port back although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(settings.reuse_port)?;
    set_up(&SockRef::from(&socket), settings)?;
    socket.bind(&address.into())?;
    socket.listen(settings.backlog.into())?;
    TcpListener::from_std(socket.into())
}

/// What accepted connections take over.
pub(super) fn set_up(socket: &SockRef<'_>, settings: &ListenSettings) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket::set_tcp_options(
        socket,
        settings.nodelay,
        settings.keepalive,
        settings.user_timeout,
    )
}

pub(super) fn unix(path: &Path, settings: &ListenSettings) -> io::Result<UnixListener> {
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path has {length} bytes; a socket's has at most {LONGEST_SOCKET_PATH}"),
        ));
    }
    let address = SockAddr::unix(path)?;
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in the way",
            ));
        }
        if is_served(&address)? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = unix_socket()?;
    socket.bind(&address)?;
    socket.listen(settings.backlog.into())?;
    UnixListener::from_std(socket.into())
}

/// Whether a server listens at `address`. Never waits: a server whose backlog is full is alive.
fn is_served(address: &SockAddr) -> io::Result<bool> {
    match unix_socket()?.connect(address) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn unix_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
