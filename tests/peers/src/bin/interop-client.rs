//! One interop case against a server: grpc-go's flags.

use sampan::{
    Channel,
    client::{Balance, Certificate, ClientTls},
};
use sampan_peers::{
    Failure,
    flags::Flags,
    interop::{self, SoakSettings},
};

const FLAGS: [&str; 7] = [
    "server_host",
    "server_port",
    "server_host_override",
    "test_case",
    "use_tls",
    "use_test_ca",
    "ca_file",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let flags = Flags::read(&[&FLAGS[..], &SoakSettings::FLAGS].concat())?;
    let case = flags.text("test_case")?;
    if case == "list" {
        println!("{}", interop::CASES.join("\n"));
        return Ok(());
    }
    if case == "list_compression" {
        println!("{}", interop::COMPRESSION_CASES.join("\n"));
        return Ok(());
    }
    let host = flags.optional("server_host").unwrap_or("localhost");
    let target = format!("{host}:{}", flags.value::<u16>("server_port", 10_000)?);
    let name = flags.optional("server_host_override");
    let tls = if flags.is_on("use_tls") {
        Some(match flags.optional("ca_file") {
            Some(file) => ClientTls::new().with_roots(Certificate::from_pem(std::fs::read(file)?)),
            None => ClientTls::new(),
        })
    } else {
        None
    };
    let dial = |balance: Option<Balance>| {
        let mut channel = Channel::configure(&target);
        if let Some(balance) = balance {
            channel = channel.balance(balance);
        }
        if let Some(tls) = &tls {
            channel = channel.tls(tls.clone());
        }
        if let Some(name) = name {
            channel = channel.authority(name);
        }
        channel.build()
    };
    interop::run(case, &dial, &SoakSettings::read(&flags)?).await?;
    println!("{case} passed");
    Ok(())
}
