//! Runs a case: its subjects take turns in short blocks, so that a drift of the machine's speed
//! hits all alike.

use crate::{
    cases::{Case, Kind, Subject},
    lab::Lab,
    load::Limit,
    memory::{self, Crowd},
    programs,
    raw::PingPong,
    sample::Sample,
    usage::Cores,
    volo::Volo,
};
use bench_echo::peer::Peer;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) blocks: usize,
    pub(crate) turn: Duration,
    pub(crate) crowds: Crowds,
    pub(crate) requests_of_h2load: u32,
    pub(crate) cores: Cores,
    /// The program of benches/volo.
    pub(crate) volo: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowds {
    pub(crate) connections: Crowd,
    pub(crate) streams: Crowd,
    /// Memory does not drift with the machine's speed.
    pub(crate) blocks: usize,
}

/// What one subject gave, a sample for each block.
pub(crate) struct Series {
    pub(crate) subject: Subject,
    pub(crate) samples: Vec<Sample>,
}

/// A subject that is ready for its turns.
enum Contestant {
    Lab(Lab),
    Raw(PingPong),
    Volo(Volo),
    /// Begins anew in each turn.
    Fresh(Peer),
}

/// All turns of a case.
///
/// # Errors
/// When a program that it needs is missing or fails.
pub(crate) fn run(case: &Case, plan: &Plan) -> Result<Vec<Series>, String> {
    let mut contestants = Vec::new();
    for subject in case.subjects {
        if let Some(contestant) = Contestant::start(case, *subject, plan)? {
            contestants.push((*subject, contestant));
        }
    }
    let mut series: Vec<_> = contestants
        .iter()
        .map(|(subject, _)| Series {
            subject: *subject,
            samples: Vec::new(),
        })
        .collect();
    let blocks = match case.kind {
        Kind::Idle | Kind::Connections | Kind::Streams => plan.crowds.blocks,
        // A count is what it is.
        Kind::Allocations | Kind::SystemCalls(_) => 1,
        Kind::Lab(_) | Kind::H2load(_) | Kind::Start => plan.blocks,
    };
    for block in 0..blocks {
        eprint!("\r{}: block {} of {blocks} ", case.name, block + 1);
        // Nobody always comes after the same one.
        for turn in 0..contestants.len() {
            let index = (turn + block) % contestants.len();
            let sample = contestants[index].1.turn(case, plan)?;
            series[index].samples.push(sample);
        }
    }
    eprint!("\r{:60}\r", "");
    Ok(series)
}

// === impl Contestant ===

impl Contestant {
    /// None: it was not asked for.
    fn start(case: &Case, subject: Subject, plan: &Plan) -> Result<Option<Self>, String> {
        let cores = plan.cores;
        Ok(Some(match (case.kind, subject) {
            (Kind::Lab(setup), Subject::Raw) => Self::Raw(PingPong::start(setup.wire, cores.first)),
            (_, Subject::Raw) => return Ok(None),
            (_, Subject::Volo) => match &plan.volo {
                Some(program) => Self::Volo(Volo::start(program, &[cores.first])?),
                None => return Ok(None),
            },
            (Kind::Lab(setup), Subject::Peer(peer)) => Self::Lab(Lab::start(peer, setup, cores)),
            (Kind::H2load(setup), Subject::Peer(peer)) => Self::Lab(Lab::start(peer, setup, cores)),
            (_, Subject::Peer(peer)) => Self::Fresh(peer),
        }))
    }

    fn turn(&self, case: &Case, plan: &Plan) -> Result<Sample, String> {
        let limit = Limit::Time(plan.turn * case.turns);
        match self {
            Self::Lab(lab) => match case.kind {
                Kind::H2load(_) => programs::h2load(lab, plan.requests_of_h2load, plan.cores),
                _ => Ok(lab.turn(limit)),
            },
            Self::Raw(raw) => Ok(raw.turn(limit)),
            Self::Volo(volo) => volo.turn(limit),
            Self::Fresh(peer) => fresh_turn(case, *peer, plan),
        }
    }
}

fn fresh_turn(case: &Case, peer: Peer, plan: &Plan) -> Result<Sample, String> {
    let cores = plan.cores.both();
    let crowd = match case.kind {
        Kind::Streams => plan.crowds.streams,
        _ => plan.crowds.connections,
    };
    match case.kind {
        Kind::Idle | Kind::Connections | Kind::Streams => {
            Ok(memory::turn(case.kind, peer, crowd, &cores))
        }
        Kind::Start => Ok(programs::start(peer, plan.cores)),
        Kind::Allocations => programs::allocations(peer),
        Kind::SystemCalls(_) => programs::system_calls(case.name, peer),
        Kind::Lab(_) | Kind::H2load(_) => unreachable!("these keep their servers"),
    }
}
