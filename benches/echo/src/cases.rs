//! What is measured: the rows of the table, and what each is to reach.

use crate::{
    lab::{Placement, Setup, Wire},
    load::{Metadata, Work},
    sample::Figure,
};
use bench_echo::{peer::Peer, service::Handler};
use std::fmt;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    pub(crate) subjects: &'static [Subject],
    pub(crate) goals: &'static [Goal],
    /// The figure that the noise is taken of, and the one shown where there is no goal.
    pub(crate) shows: Figure,
    /// How many times as long a turn is as usual: where a few hundred calls say little.
    pub(crate) turns: u32,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Client and server as threads of this process.
    Lab(Setup),
    /// The same server under h2load.
    H2load(Setup),
    /// Memory of a server of its own.
    Idle,
    Connections,
    Streams,
    /// From exec to the first answered call.
    Start,
    /// Counted by an allocator, over a pipe in memory.
    Allocations,
    /// Counted by strace.
    SystemCalls(Setup),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Raw,
    Peer(Peer),
    Volo,
}

/// A figure of a subject against a bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) subject: Subject,
    pub(crate) bound: Bound,
    pub(crate) aim: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// As it is.
    AtMost(f64),
    AtMostTimes(f64, Subject),
    AtLeastTimes(f64, Subject),
    /// A ratio that is only shown.
    Times(Subject),
}

const RAW: Subject = Subject::Raw;
const VOLO: Subject = Subject::Volo;
const SAMPAN: Subject = Subject::Peer(Peer::Sampan);
const BARE: Subject = Subject::Peer(Peer::SampanBare);
const TONIC_CODE: Subject = Subject::Peer(Peer::SampanTonicCode);
const TONIC: Subject = Subject::Peer(Peer::Tonic);
const AGAIN: Subject = Subject::Peer(Peer::TonicAgain);
const DEADLINE: Subject = Subject::Peer(Peer::TonicDeadline);

const PAIR: &[Subject] = &[SAMPAN, TONIC, AGAIN];
const WITH_RAW: &[Subject] = &[RAW, SAMPAN, TONIC, AGAIN];
const ALL: &[Subject] = &[SAMPAN, BARE, TONIC_CODE, TONIC, AGAIN, DEADLINE];

/// Every row, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "unary-1-tcp",
        about: "32 B, 1 in flight, TCP, both on one core",
        kind: Kind::Lab(unary(1)),
        subjects: WITH_RAW,
        goals: &[at_most(1.3, Figure::P50, RAW), shown(Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 1,
    },
    Case {
        name: "unary-1-unix",
        about: "32 B, 1 in flight, Unix socket, both on one core",
        kind: Kind::Lab(Setup {
            wire: Wire::Unix,
            ..unary(1)
        }),
        subjects: WITH_RAW,
        goals: &[at_most(1.4, Figure::P50, RAW), shown(Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 1,
    },
    Case {
        name: "ping-pong",
        about: "32 B each way in turns on one stream, TCP, both on one core",
        kind: Kind::Lab(Setup {
            work: Work::PingPong { bytes: 32 },
            ..unary(1)
        }),
        subjects: WITH_RAW,
        goals: &[at_most(1.2, Figure::P50, RAW), shown(Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 1,
    },
    Case {
        name: "unary-64",
        about: "32 B, 64 in flight, 1 connection, both on one core",
        kind: Kind::Lab(unary(64)),
        subjects: ALL,
        goals: &[
            aiming(0.25, 1.0 / 6.0, Figure::Cpu, TONIC),
            Goal {
                subject: TONIC_CODE,
                ..at_most(1.0 / 3.0, Figure::Cpu, TONIC)
            },
        ],
        shows: Figure::Cpu,
        turns: 1,
    },
    Case {
        name: "two-cores-1",
        about: "32 B, 64 in flight, 1 connection, a core each",
        kind: Kind::Lab(two_cores(1)),
        subjects: PAIR,
        goals: &[at_least(5.0, Some(8.0), TONIC)],
        shows: Figure::Rate,
        turns: 1,
    },
    Case {
        name: "two-cores-4",
        about: "32 B, 64 in flight, 4 connections, a core each",
        kind: Kind::Lab(two_cores(4)),
        subjects: PAIR,
        goals: &[at_least(4.0, Some(6.0), TONIC)],
        shows: Figure::Rate,
        turns: 1,
    },
    Case {
        name: "main-1",
        about: "32 B, 1 in flight, both inside one #[tokio::main], two cores",
        kind: Kind::Lab(Setup {
            cores: Placement::Main,
            ..unary(1)
        }),
        subjects: PAIR,
        goals: &[at_most(0.5, Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 2,
    },
    Case {
        name: "main-64",
        about: "32 B, 64 in flight, both inside one #[tokio::main], two cores",
        kind: Kind::Lab(Setup {
            cores: Placement::Main,
            ..unary(64)
        }),
        subjects: PAIR,
        goals: &[at_least(4.0, None, TONIC)],
        shows: Figure::Rate,
        turns: 1,
    },
    Case {
        name: "h2load",
        about: "32 B, the server alone under h2load, 4 connections × 16",
        kind: Kind::H2load(two_cores(1)),
        subjects: PAIR,
        goals: &[at_most(0.25, Figure::ServerCpu, TONIC)],
        shows: Figure::ServerCpu,
        turns: 1,
    },
    Case {
        name: "mesh-headers",
        about: "the same load from tonic's client: grpc-timeout and traceparent change, authorization of 700 B",
        kind: Kind::Lab(Setup {
            client: Some(Peer::Tonic),
            work: Work::Unary {
                in_flight: 64,
                bytes: 32,
                handler: Handler::Echo,
                metadata: Metadata::Mesh,
            },
            ..two_cores(4)
        }),
        subjects: PAIR,
        goals: &[at_most(1.0 / 3.0, Figure::ServerCpu, TONIC)],
        shows: Figure::ServerCpu,
        turns: 1,
    },
    Case {
        name: "unary-1k",
        about: "1 KiB, 64 in flight, 1 connection, both on one core",
        kind: Kind::Lab(messages(1 << 10)),
        subjects: PAIR,
        goals: &[at_most(0.2, Figure::Cpu, TONIC)],
        shows: Figure::Cpu,
        turns: 1,
    },
    Case {
        name: "unary-16k",
        about: "16 KiB, 64 in flight, 1 connection, both on one core",
        kind: Kind::Lab(messages(16 << 10)),
        subjects: PAIR,
        goals: &[at_most(1.0 / 2.5, Figure::Cpu, TONIC)],
        shows: Figure::Cpu,
        turns: 1,
    },
    Case {
        name: "download",
        about: "a server stream of messages of 100 B, both on one core; per message",
        kind: Kind::Lab(Setup {
            work: Work::Download { bytes: 100 },
            ..unary(1)
        }),
        subjects: PAIR,
        goals: &[at_most(1.0 / 1.5, Figure::Cpu, TONIC)],
        shows: Figure::Cpu,
        turns: 1,
    },
    Case {
        name: "upload",
        about: "an upload of messages of 64 KiB, both on one core",
        kind: Kind::Lab(Setup {
            work: Work::Upload { bytes: 64 << 10 },
            ..unary(1)
        }),
        subjects: &[SAMPAN, TONIC, AGAIN, VOLO],
        goals: &[
            Goal {
                figure: Figure::Megabytes,
                ..at_least(1.3, None, VOLO)
            },
            shown(Figure::Megabytes, TONIC),
        ],
        shows: Figure::Megabytes,
        turns: 1,
    },
    Case {
        name: "tls-64",
        about: "32 B, 64 in flight, 1 connection, TLS, both on one core",
        kind: Kind::Lab(Setup {
            wire: Wire::Tls,
            ..unary(64)
        }),
        subjects: PAIR,
        goals: &[at_least(3.0, None, TONIC)],
        shows: Figure::Rate,
        turns: 1,
    },
    Case {
        name: "fairness",
        about: "32 B, 1 in flight beside uploads of 16 MiB on the same connection, a core each",
        kind: Kind::Lab(Setup {
            work: Work::Beside { bytes: 32 },
            ..two_cores(1)
        }),
        subjects: PAIR,
        goals: &[at_most(0.5, Figure::P99, TONIC)],
        shows: Figure::P99,
        turns: 6,
    },
    Case {
        name: "unread-8",
        about: "32 B, 1 in flight, one core, beside 8 streams on the same connection that nobody reads",
        kind: Kind::Lab(Setup {
            work: Work::Unread { bytes: 32 },
            ..unary(1)
        }),
        // Without tonic: eight full streams fill its connection's window, and its calls stop.
        subjects: &[RAW, SAMPAN],
        goals: &[shown(Figure::P50, RAW)],
        shows: Figure::P50,
        turns: 1,
    },
    Case {
        name: "busy-64",
        about: "handlers that work for 100 µs, 64 in flight, 1 connection, a core each",
        kind: Kind::Lab(handlers(Handler::Busy)),
        subjects: PAIR,
        goals: &[at_most(1.0, Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 4,
    },
    Case {
        name: "waiting-64",
        about: "handlers that wait for 100 µs, 64 in flight, 1 connection, a core each",
        kind: Kind::Lab(handlers(Handler::Waiting)),
        subjects: PAIR,
        goals: &[at_most(1.0, Figure::P50, TONIC)],
        shows: Figure::P50,
        turns: 2,
    },
    Case {
        name: "idle",
        about: "memory of a server that has answered one call",
        kind: Kind::Idle,
        subjects: PAIR,
        goals: &[at_most_is(3.5, Figure::Mebibytes)],
        shows: Figure::Mebibytes,
        turns: 1,
    },
    Case {
        name: "connections",
        about: "memory per connection, 1,000 of them, 5 s after a call with 1 KiB of metadata on each",
        kind: Kind::Connections,
        subjects: PAIR,
        goals: &[at_most_is(4.0, Figure::KibPerConnection)],
        shows: Figure::KibPerConnection,
        turns: 1,
    },
    Case {
        name: "streams",
        about: "memory per open stream, 10,000 of them over 100 connections, 5 s after a message each way",
        kind: Kind::Streams,
        subjects: PAIR,
        goals: &[at_most_is(1.5, Figure::KibPerStream)],
        shows: Figure::KibPerStream,
        turns: 1,
    },
    Case {
        name: "start",
        about: "from exec to the first answered call",
        kind: Kind::Start,
        subjects: PAIR,
        goals: &[at_most_is(2.6, Figure::Millis)],
        shows: Figure::Millis,
        turns: 1,
    },
    Case {
        name: "allocations",
        about: "allocations per unary call of 32 B, both sides together, over a pipe in memory",
        kind: Kind::Allocations,
        subjects: &[SAMPAN, TONIC],
        goals: &[],
        shows: Figure::Allocations,
        turns: 1,
    },
    Case {
        name: "system-calls-1",
        about: "system calls per unary call, both sides together, 1 in flight",
        kind: Kind::SystemCalls(unary(1)),
        subjects: &[SAMPAN, TONIC],
        goals: &[],
        shows: Figure::SystemCalls,
        turns: 1,
    },
    Case {
        name: "system-calls-64",
        about: "system calls per unary call, both sides together, 64 in flight",
        kind: Kind::SystemCalls(unary(64)),
        subjects: &[SAMPAN, TONIC],
        goals: &[],
        shows: Figure::SystemCalls,
        turns: 1,
    },
];

const fn unary(in_flight: usize) -> Setup {
    Setup {
        cores: Placement::OneCore,
        wire: Wire::Tcp,
        connections: 1,
        work: Work::Unary {
            in_flight,
            bytes: 32,
            handler: Handler::Echo,
            metadata: Metadata::None,
        },
        client: None,
    }
}

const fn two_cores(connections: usize) -> Setup {
    Setup {
        cores: Placement::TwoCores,
        connections,
        ..unary(64)
    }
}

const fn messages(bytes: usize) -> Setup {
    Setup {
        work: Work::Unary {
            in_flight: 64,
            bytes,
            handler: Handler::Echo,
            metadata: Metadata::None,
        },
        ..unary(64)
    }
}

const fn handlers(handler: Handler) -> Setup {
    Setup {
        work: Work::Unary {
            in_flight: 64,
            bytes: 32,
            handler,
            metadata: Metadata::None,
        },
        ..two_cores(1)
    }
}

const fn goal(figure: Figure, bound: Bound) -> Goal {
    Goal {
        figure,
        subject: SAMPAN,
        bound,
        aim: None,
    }
}

const fn at_most(times: f64, figure: Figure, of: Subject) -> Goal {
    goal(figure, Bound::AtMostTimes(times, of))
}

const fn aiming(times: f64, aim: f64, figure: Figure, of: Subject) -> Goal {
    Goal {
        aim: Some(aim),
        ..at_most(times, figure, of)
    }
}

const fn at_least(times: f64, aim: Option<f64>, of: Subject) -> Goal {
    Goal {
        aim,
        ..goal(Figure::Rate, Bound::AtLeastTimes(times, of))
    }
}

const fn at_most_is(value: f64, figure: Figure) -> Goal {
    goal(figure, Bound::AtMost(value))
}

const fn shown(figure: Figure, of: Subject) -> Goal {
    goal(figure, Bound::Times(of))
}

// === impl Subject ===

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raw => "raw",
            Self::Peer(peer) => peer.name(),
            Self::Volo => "volo-grpc",
        })
    }
}

// === impl Bound ===

impl Bound {
    pub(crate) const fn against(self) -> Option<Subject> {
        match self {
            Self::AtMost(_) => None,
            Self::AtMostTimes(_, of) | Self::AtLeastTimes(_, of) | Self::Times(of) => Some(of),
        }
    }

    /// None: there is nothing to reach.
    pub(crate) fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) | Self::AtMostTimes(bound, _) => Some(value <= bound),
            Self::AtLeastTimes(bound, _) => Some(value >= bound),
            Self::Times(_) => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "≤ {bound:.1}"),
            Self::AtMostTimes(times, of) => write!(f, "≤ {times:.2} × {of}"),
            Self::AtLeastTimes(times, of) => write!(f, "≥ {times:.1} × {of}"),
            Self::Times(of) => write!(f, "× {of}"),
        }
    }
}
