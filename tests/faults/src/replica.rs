//! A replica that misbehaves as it is told.

use crate::proto::{
    Answer, Request,
    replica_server::{self, ReplicaServer},
};
use std::{
    fmt::{self, Write as _},
    fs::File,
    io::Write as _,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_stream::Stream;
use tonic::{Code, Response, Status};

/// The service of one replica. Clones share everything.
#[derive(Clone, Debug)]
pub struct Replica {
    name: Arc<str>,
    behaviour: watch::Sender<(Behaviour, Arc<Semaphore>)>,
    journal: Journal,
    open: Arc<AtomicUsize>,
}

/// What a replica does to its calls. As text: `delay_ms=20 fails=13`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Answers so much later.
    pub delay: Duration,
    /// Fails at once with this status code.
    pub fails: Option<i32>,
    /// Fails at once with UNAVAILABLE, and asks to be left alone for so long.
    pub sheds: Option<Duration>,
    /// Never answers.
    pub is_mute: bool,
    /// Works on so many calls at a time; twice as many wait, and further ones are shed with a
    /// pushback of 20 ms. 0: on any number.
    pub slots: usize,
}

/// Where a replica writes down which calls it has run, before it answers them.
#[derive(Clone, Debug, Default)]
pub enum Journal {
    /// Nowhere.
    #[default]
    None,
    /// To a file that is there when the process was killed.
    File(Arc<File>),
    /// Name and call, for replicas of one process.
    Memory(Arc<Mutex<Vec<Note>>>),
}

/// A replica's name, and the call that it ran.
pub type Note = (Arc<str>, u64);

/// A call that the replica has not let go of.
struct Open(Arc<AtomicUsize>);

/// What the overloaded ask for.
const PUSHBACK: Duration = Duration::from_millis(20);

// === impl Replica ===

impl Replica {
    /// One that does nothing wrong yet.
    #[must_use]
    pub fn new(name: &str, journal: Journal) -> Self {
        Self {
            name: name.into(),
            behaviour: watch::Sender::new((Behaviour::default(), Arc::new(Semaphore::new(0)))),
            journal,
            open: Arc::default(),
        }
    }

    /// Does so from now on, to calls that begin.
    pub fn behave(&self, behaviour: Behaviour) {
        let slots = Arc::new(Semaphore::new(behaviour.slots));
        self.behaviour.send_replace((behaviour, slots));
    }

    /// Calls that it has not let go of.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// The tonic service.
    #[must_use]
    pub fn service(&self) -> ReplicaServer<Self> {
        ReplicaServer::new(self.clone())
    }

    async fn run(&self, id: u64) -> Result<Response<Answer>, Status> {
        let _open = Open::new(&self.open);
        let (behaviour, slots) = self.behaviour.borrow().clone();
        if let Some(code) = behaviour.fails {
            return Err(Status::new(Code::from_i32(code), "as told"));
        }
        if let Some(pushback) = behaviour.sheds {
            return Err(shed(pushback));
        }
        let _slot = if behaviour.slots > 0 {
            if self.open_calls() > 3 * behaviour.slots {
                return Err(shed(PUSHBACK));
            }
            slots.acquire_owned().await.ok()
        } else {
            None
        };
        self.journal.note(&self.name, id);
        if behaviour.is_mute {
            std::future::pending::<()>().await;
        }
        if !behaviour.delay.is_zero() {
            tokio::time::sleep(behaviour.delay).await;
        }
        Ok(Response::new(self.answer(id)))
    }

    fn answer(&self, id: u64) -> Answer {
        Answer {
            id,
            name: self.name.to_string(),
        }
    }
}

fn shed(pushback: Duration) -> Status {
    let mut status = Status::unavailable("shed");
    let millis = pushback.as_millis().to_string();
    if let Ok(millis) = millis.parse() {
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", millis);
    }
    status
}

#[tonic::async_trait]
impl replica_server::Replica for Replica {
    async fn read(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        self.run(request.into_inner().id).await
    }

    async fn write(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        self.run(request.into_inner().id).await
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        use tokio_stream::StreamExt as _;
        let open = Open::new(&self.open);
        let first = self.answer(request.into_inner().id);
        let silence = tokio_stream::pending().map(move |never| {
            let _open = &open;
            never
        });
        Ok(Response::new(Box::pin(
            tokio_stream::once(Ok(first)).chain(silence),
        )))
    }
}

// === impl Journal ===

impl Journal {
    fn note(&self, name: &Arc<str>, id: u64) {
        match self {
            Self::None => {}
            Self::File(file) => {
                // In one write, so that lines stay whole.
                let written = (&**file).write_all(format!("{id}\n").as_bytes());
                assert!(written.is_ok(), "the journal takes no more: {written:?}");
            }
            Self::Memory(calls) => calls.lock().unwrap().push((Arc::clone(name), id)),
        }
    }
}

// === impl Open ===

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

// === impl Behaviour ===

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay_ms={}", self.delay.as_millis())?;
        if let Some(code) = self.fails {
            write!(f, " fails={code}")?;
        }
        if let Some(pushback) = self.sheds {
            write!(f, " sheds_ms={}", pushback.as_millis())?;
        }
        if self.is_mute {
            f.write_str(" mute=1")?;
        }
        if self.slots > 0 {
            write!(f, " slots={}", self.slots)?;
        }
        f.write_char('\n')
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut behaviour = Self::default();
        for word in text.split_whitespace() {
            let wrong = || format!("\"{word}\" is no behaviour");
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let number: u64 = value.parse().map_err(|_| wrong())?;
            let millis = Duration::from_millis(number);
            match key {
                "delay_ms" => behaviour.delay = millis,
                "fails" => behaviour.fails = Some(i32::try_from(number).map_err(|_| wrong())?),
                "sheds_ms" => behaviour.sheds = Some(millis),
                "mute" => behaviour.is_mute = number > 0,
                "slots" => behaviour.slots = usize::try_from(number).map_err(|_| wrong())?,
                _ => return Err(wrong()),
            }
        }
        Ok(behaviour)
    }
}
