//! The client that the Connect conformance suite starts: makes the calls that it reads, and
//! writes what came of them.

use sampan::Channel;
use sampan_peers::{
    Failure,
    conformance::{
        self, client,
        proto::{
            ClientCompatRequest, ClientCompatResponse, ClientErrorResult,
            client_compat_response::Result as Outcome,
        },
    },
};
use std::{collections::HashMap, io};
use tokio::{sync::mpsc, task::JoinSet};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (asked, mut cases) = mpsc::unbounded_channel();
    std::thread::spawn(move || -> io::Result<()> {
        while let Some(case) = conformance::read::<ClientCompatRequest>(&mut io::stdin())? {
            if asked.send(case).is_err() {
                break;
            }
        }
        Ok(())
    });
    let mut channels = HashMap::new();
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            Some(case) = cases.recv() => {
                let channel = channel(&mut channels, &case);
                calls.spawn(outcome(case, channel));
            }
            Some(done) = calls.join_next() => {
                conformance::write(&mut io::stdout(), &done?)?;
            }
            else => return Ok(()),
        }
    }
}

/// One channel for each server.
fn channel(
    channels: &mut HashMap<(u32, Vec<u8>), Channel>,
    case: &ClientCompatRequest,
) -> Result<Channel, Failure> {
    let identity = case.client_tls_creds.clone().unwrap_or_default().cert;
    let key = (case.port, identity);
    if let Some(channel) = channels.get(&key) {
        return Ok(channel.clone());
    }
    let channel = client::dial(case)?;
    channels.insert(key, channel.clone());
    Ok(channel)
}

async fn outcome(
    case: ClientCompatRequest,
    channel: Result<Channel, Failure>,
) -> ClientCompatResponse {
    let called = match channel {
        Ok(channel) => client::call(&case, channel).await,
        Err(error) => Err(error),
    };
    let outcome = called.map_or_else(
        |error| {
            Outcome::Error(ClientErrorResult {
                message: error.to_string(),
            })
        },
        Outcome::Response,
    );
    ClientCompatResponse {
        test_name: case.test_name,
        result: Some(outcome),
    }
}
