//! What happens on a connection, decided before it begins.

use proptest::{collection::vec, option, prelude::*};

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Bytes that the pipe holds in each direction.
    pub(crate) pipe: usize,
    pub(crate) client: Side,
    pub(crate) server: Side,
    pub(crate) calls: Vec<Plan>,
    /// Calls that run at once.
    pub(crate) at_once: usize,
    /// The server says GOAWAY when so many requests have reached it.
    pub(crate) goaway_after: Option<usize>,
}

/// The settings of one side.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) stream_window: u32,
    pub(crate) connection_window: u32,
    pub(crate) max_frame: u32,
    /// The server's.
    pub(crate) max_streams: u32,
}

/// One call, as both sides play it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    pub(crate) client: Client,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: Fields,
    /// Sizes of its messages.
    pub(crate) messages: Vec<usize>,
    pub(crate) is_streamed: bool,
    /// A stream of requests breaks off after its messages.
    pub(crate) fails: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) reads: Reads,
    pub(crate) headers: Fields,
    pub(crate) messages: Vec<usize>,
    pub(crate) end: End,
}

/// When the server reads the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Before it answers.
    First,
    /// While it answers: the answer's end waits for the request's.
    Meanwhile,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Trailers; `code` 0 and no fields are a plain OK.
    Status { code: u8, fields: Fields },
    /// A head alone, whatever messages there were to be.
    HeadAlone { code: u8 },
    /// The body breaks off.
    Fails,
}

/// What the client does with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Reads,
    /// Drops the call at once.
    CancelsAtOnce,
    /// Drops the body after so many bytes.
    CancelsAfter(usize),
}

/// Numbers of names, and values.
pub(crate) type Fields = Vec<(u8, String)>;

pub(crate) fn name(number: u8) -> String {
    format!("x-field-{number}")
}

/// The bytes of the nth message: prefix and content.
pub(crate) fn message(n: usize, size: usize) -> Vec<u8> {
    let length = u32::try_from(size).unwrap().to_be_bytes();
    let content = (0..size).map(|at| (at * 7 + n * 31) as u8);
    [0].into_iter().chain(length).chain(content).collect()
}

pub(crate) fn data(messages: &[usize]) -> Vec<u8> {
    let all = messages.iter().enumerate();
    all.flat_map(|(n, size)| message(n, *size)).collect()
}

// === impl Program ===

impl Program {
    /// Whether streams are reset: their handlers count against the limit of streams until they
    /// have ended, so that our server may refuse a call in between.
    pub(crate) fn has_resets(&self) -> bool {
        !self.calls.iter().all(Plan::is_whole)
    }

    /// hyper's client does not wait for the server's limit of streams, and it resets no stream
    /// whose request is still being sent when its answer is dropped.
    pub(crate) fn for_hypers_client(mut self) -> Self {
        let at_once = u32::try_from(self.at_once).unwrap();
        self.server.max_streams = self.server.max_streams.max(at_once);
        for plan in &mut self.calls {
            if plan.request.is_streamed && matches!(plan.client, Client::CancelsAfter(_)) {
                plan.client = Client::Reads;
            }
        }
        self
    }
}

// === impl Plan ===

impl Plan {
    /// Whether all goes to its end.
    pub(crate) fn is_whole(&self) -> bool {
        !self.breaks_off() && self.client == Client::Reads && !matches!(self.answer.end, End::Fails)
    }

    /// Whether the answer may end before the request does.
    pub(crate) fn may_overtake(&self) -> bool {
        self.answer.reads == Reads::Meanwhile && matches!(self.answer.end, End::HeadAlone { .. })
    }

    /// Whether the request does not end.
    pub(crate) fn breaks_off(&self) -> bool {
        self.request.is_streamed && self.request.fails
    }
}

// === any of them ===

fn fields() -> impl Strategy<Value = Fields> {
    vec((0..6_u8, "[!-~]{0,20}|[a-z]{200,1000}"), 0..4)
}

fn messages() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![6 => 0..100_usize, 3 => 100..10_000_usize, 1 => 20_000..70_000_usize];
    vec(size, 0..5)
}

fn side() -> impl Strategy<Value = Side> {
    let window = prop_oneof![Just(65_535_u32), 64..500_u32, 500..300_000_u32];
    (window, 65_535..1_000_000_u32, 16_384..60_000_u32, 1..20_u32).prop_map(
        |(stream_window, connection_window, max_frame, max_streams)| Side {
            stream_window,
            connection_window,
            max_frame,
            max_streams,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    (
        fields(),
        messages(),
        prop::bool::ANY,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(headers, messages, is_streamed, fails)| Request {
            headers,
            messages,
            is_streamed,
            fails,
        })
}

fn answer() -> impl Strategy<Value = Answer> {
    let reads = prop_oneof![Just(Reads::First), Just(Reads::Meanwhile)];
    let end = prop_oneof![
        6 => (prop_oneof![2 => Just(0_u8), 1 => 1..17_u8], fields())
            .prop_map(|(code, fields)| End::Status { code, fields }),
        2 => (0..17_u8).prop_map(|code| End::HeadAlone { code }),
        1 => Just(End::Fails),
    ];
    (reads, fields(), messages(), end).prop_map(|(reads, headers, messages, end)| Answer {
        reads,
        headers,
        messages,
        end,
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let client = prop_oneof![
        8 => Just(Client::Reads),
        1 => Just(Client::CancelsAtOnce),
        1 => (0..50_000_usize).prop_map(Client::CancelsAfter),
    ];
    (request(), answer(), client).prop_map(|(request, answer, client)| Plan {
        request,
        answer,
        client,
    })
}

pub(crate) fn any() -> impl Strategy<Value = Program> {
    let goaway = option::weighted(0.3, 1..12_usize);
    let pipe = prop_oneof![512..8_192_usize, Just(1 << 16)];
    (
        pipe,
        side(),
        side(),
        vec(plan(), 1..20),
        1..12_usize,
        goaway,
    )
        .prop_map(
            |(pipe, client, server, calls, at_once, goaway_after)| Program {
                pipe,
                client,
                server,
                calls,
                at_once,
                goaway_after,
            },
        )
}
