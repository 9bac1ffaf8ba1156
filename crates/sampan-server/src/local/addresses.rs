//! The addresses that a listener can be dialled at.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Of one listener; none is left out that a channel on this host may know.
const MOST: usize = 64;

/// The address itself; those of this machine's interfaces where it means all of them.
pub(super) fn advertised(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let takes_v6 = address.is_ipv6();
    let mut all: Vec<_> = own()
        .into_iter()
        .filter(|ip| ip.is_ipv4() || takes_v6)
        .collect();
    // Loopback last: the others are what names lead to.
    all.sort_unstable_by_key(|ip| (ip.is_loopback(), *ip));
    all.dedup();
    all.truncate(MOST);
    let at = |ip| SocketAddr::new(ip, address.port());
    all.into_iter().map(at).collect()
}

fn own() -> Vec<IpAddr> {
    let mut all = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    all.extend(v4_of_routes(&read("/proc/net/fib_trie")).map(IpAddr::V4));
    all.extend(v6_of_interfaces(&read("/proc/net/if_inet6")).map(IpAddr::V6));
    // Where the kernel does not tell: that which packets would leave from. Nothing is sent.
    all.extend(outgoing(
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv4Addr::new(192, 0, 2, 1).into(),
    ));
    all
}

/// The lines before `/32 host LOCAL` in the kernel's table of routes.
fn v4_of_routes(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    let lines: Vec<_> = table.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|two| two[1] == "/32 host LOCAL");
    let addresses = pairs.filter_map(|two| two[0].strip_prefix("|-- ")?.parse().ok());
    addresses.collect::<Vec<_>>().into_iter()
}

/// The first column, 32 hex digits, of addresses that are not of one link alone.
fn v6_of_interfaces(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    let address = |line: &str| {
        let digits = line.split_whitespace().next()?;
        let bits = u128::from_str_radix(digits, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits)).filter(|ip| !ip.is_unicast_link_local())
    };
    table.lines().filter_map(address)
}

fn outgoing(from: IpAddr, to: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_itself_and_all_stand_for_each() {
        let one: SocketAddr = "10.0.0.7:1".parse().unwrap();
        assert_eq!(advertised(one), [one]);
        let all = advertised("0.0.0.0:7".parse().unwrap());
        assert!(all.contains(&"127.0.0.1:7".parse().unwrap()), "{all:?}");
        assert!(all.iter().all(SocketAddr::is_ipv4));
    }

    #[test]
    fn the_kernel_s_tables_are_read() {
        let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            |-- 172.17.0.3\n        /32 host LOCAL\n     |-- 172.17.255.255\n        \
            /32 link BROADCAST\n";
        let found: Vec<_> = v4_of_routes(routes).collect();
        assert_eq!(found, [Ipv4Addr::new(172, 17, 0, 3)]);
        let interfaces = "fe800000000000000042acfffe110003 2 40 20 80 eth0\n\
            fd000000000000000000000000000007 2 40 00 80 eth0\n";
        let found: Vec<_> = v6_of_interfaces(interfaces).collect();
        assert_eq!(found, ["fd00::7".parse::<Ipv6Addr>().unwrap()]);
    }
}
