//! The command line.

use crate::{
    cases::{CASES, Case, Kind},
    lab::Setup,
    memory::Crowd,
    remote::Drive,
    run::{Crowds, Plan},
    usage::Cores,
};
use bench_echo::peer::Peer;
use std::time::Duration;

pub(crate) const USAGE: &str =
    "bench-echo [--list] [--only CASE]… [--quick] [--blocks N] [--millis N] [--json FILE]

  --list         the cases
  --only CASE    this case; may be given again
  --quick        a fifth of the turns and small crowds: to see that it runs
  --blocks N     turns of each subject (10)
  --millis N     length of one turn (300)
  --volo PROGRAM the program of benches/volo: volo-grpc's uploads beside ours
  --json FILE    also writes the figures there

For one that looks at it from outside; addresses are IP:PORT or unix:PATH:
bench-echo once CASE SUBJECT CALLS
bench-echo serve SUBJECT ADDRESS
bench-echo drive SUBJECT ADDRESS IN_FLIGHT CONNECTIONS MILLIS";

pub(crate) enum Command {
    Help,
    List,
    Once {
        setup: Setup,
        peer: Peer,
        calls: u64,
    },
    Serve {
        peer: Peer,
        address: String,
    },
    Drive {
        peer: Peer,
        address: String,
        drive: Drive,
    },
    Run {
        cases: Vec<&'static Case>,
        plan: Plan,
        json: Option<String>,
    },
}

const PEERS: [Peer; 6] = [
    Peer::Sampan,
    Peer::SampanBare,
    Peer::SampanTonicCode,
    Peer::Tonic,
    Peer::TonicAgain,
    Peer::TonicDeadline,
];

/// # Errors
/// What is wrong with the arguments.
pub(crate) fn parse(
    arguments: impl Iterator<Item = String>,
    cores: Cores,
) -> Result<Command, String> {
    let words: Vec<_> = arguments.collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["once", case, subject, calls] => return once(case, subject, calls),
        ["serve", subject, address] => {
            return Ok(Command::Serve {
                peer: peer(subject)?,
                address: address.to_owned(),
            });
        }
        ["drive", subject, address, in_flight, connections, millis] => {
            let millis = number("MILLIS", millis)?;
            let drive = Drive {
                in_flight: number("IN_FLIGHT", in_flight)?,
                connections: number("CONNECTIONS", connections)?,
                time: Duration::from_millis(millis as u64),
            };
            return Ok(Command::Drive {
                peer: peer(subject)?,
                address: address.to_owned(),
                drive,
            });
        }
        _ => {}
    }
    let mut arguments = words.iter().map(|word| (*word).to_owned());
    let mut plan = Plan {
        blocks: 10,
        turn: Duration::from_millis(300),
        crowds: Crowds {
            connections: Crowd {
                connections: 1_000,
                streams_each: 0,
            },
            streams: Crowd {
                connections: 100,
                streams_each: 100,
            },
            blocks: 3,
        },
        requests_of_h2load: 40_000,
        cores,
        volo: None,
    };
    let (mut cases, mut json) = (Vec::new(), None);
    while let Some(flag) = arguments.next() {
        match flag.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--list" => return Ok(Command::List),
            "--quick" => quicken(&mut plan),
            "--only" => cases.push(case(&value(&flag, &mut arguments)?)?),
            "--blocks" => plan.blocks = count(&flag, &mut arguments)?,
            "--millis" => {
                plan.turn = Duration::from_millis(count(&flag, &mut arguments)? as u64);
            }
            "--volo" => plan.volo = Some(value(&flag, &mut arguments)?),
            "--json" => json = Some(value(&flag, &mut arguments)?),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    if cases.is_empty() {
        cases = CASES.iter().collect();
    }
    Ok(Command::Run { cases, plan, json })
}

fn quicken(plan: &mut Plan) {
    plan.blocks = 3;
    plan.turn = Duration::from_millis(100);
    plan.crowds.connections.connections = 100;
    plan.crowds.streams.connections = 10;
    plan.crowds.blocks = 1;
    plan.requests_of_h2load = 10_000;
}

fn once(name: &str, subject: &str, calls: &str) -> Result<Command, String> {
    let (Kind::Lab(setup) | Kind::SystemCalls(setup)) = case(name)?.kind else {
        return Err(format!("{name} does not run inside of this process"));
    };
    Ok(Command::Once {
        setup,
        peer: peer(subject)?,
        calls: number("CALLS", calls)? as u64,
    })
}

fn peer(name: &str) -> Result<Peer, String> {
    let found = PEERS.into_iter().find(|peer| peer.name() == name);
    found.ok_or_else(|| format!("there is no subject {name}"))
}

fn case(name: &str) -> Result<&'static Case, String> {
    let found = CASES.iter().find(|case| case.name == name);
    found.ok_or_else(|| format!("there is no case {name}; --list shows them"))
}

fn value(flag: &str, arguments: &mut impl Iterator<Item = String>) -> Result<String, String> {
    arguments
        .next()
        .ok_or_else(|| format!("{flag} needs a value"))
}

fn count(flag: &str, arguments: &mut impl Iterator<Item = String>) -> Result<usize, String> {
    number(flag, &value(flag, arguments)?)
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| *n > 0);
    number.ok_or_else(|| format!("{name} {text}: no count"))
}
