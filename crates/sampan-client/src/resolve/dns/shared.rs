//! One answer for all channels of the process that ask for the same name.

use super::question::{Answer, Question};
use crate::resolve::{ResolveError, Why};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Between two questions, whatever happens.
const FLOOR: Duration = Duration::from_secs(1);
/// Channels look a tenth earlier or later than they are told; who comes a little early gets the
/// same answer.
const PUNCTUAL: f64 = 0.85;

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Shared {
    question: Question,
    /// One asks, the others wait for the answer.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Last>>,
    /// Counts answers that are others than those before.
    number: watch::Sender<u64>,
    /// Chooses among service configs.
    draw: u32,
}

#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    answer: Result<Arc<Answer>, Miss>,
    life: Duration,
    /// What was answered last, also before failures.
    known: Arc<Answer>,
}

/// A [`ResolveError`] for many.
#[derive(Clone, Debug)]
enum Miss {
    NoAddress,
    Failed(String),
}

/// An answer for one.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) answer: Result<Arc<Answer>, ResolveError>,
    /// From now on.
    pub(super) valid_for: Duration,
    pub(super) number: u64,
}

type Names = HashMap<Question, Weak<Shared>>;

static ALL: Mutex<Option<Names>> = Mutex::new(None);

// === impl Shared ===

impl Shared {
    /// The one of the process.
    pub(super) fn of(question: Question) -> Arc<Self> {
        let mut all = lock(&ALL);
        let all = all.get_or_insert_with(Names::new);
        if let Some(shared) = all.get(&question).and_then(Weak::upgrade) {
            return shared;
        }
        all.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Self {
            question: question.clone(),
            turn: tokio::sync::Mutex::new(()),
            last: Mutex::new(None),
            number: watch::Sender::new(0),
            draw: rand::Rng::random_range(&mut crate::chance::Dice, 0..100),
        });
        all.insert(question, Arc::downgrade(&shared));
        shared
    }

    /// The answer that there is, while it is good enough; else another.
    pub(super) async fn resolve(&self, why: Why) -> Told {
        // A runtime that stands still does not hold up others.
        let _turn = timeout(FLOOR, self.turn.lock()).await;
        let last = lock(&self.last).clone();
        if let Some(last) = &last
            && last.is_good(why, Instant::now())
        {
            return self.tell(last);
        }
        let known = last.map(|last| last.known);
        let config = known.as_ref().and_then(|one| one.service_config.clone());
        let asked = self.question.ask(config, self.draw).await;
        let before = known.clone().unwrap_or_default();
        let (answer, life, known) = match asked {
            Ok((answer, life)) => {
                let answer = Arc::new(answer);
                (Ok(Arc::clone(&answer)), life, answer)
            }
            Err(ResolveError::NoAddress { .. }) => (Err(Miss::NoAddress), FLOOR, before),
            Err(ResolveError::Failed { source, .. }) => {
                (Err(Miss::Failed(source.to_string())), FLOOR, before)
            }
        };
        let last = Last {
            at: Instant::now(),
            answer,
            life,
            known,
        };
        let before = lock(&self.last).replace(last.clone());
        if !before.is_some_and(|before| before.says_the_same(&last)) {
            self.number.send_modify(|number| *number += 1);
        }
        self.tell(&last)
    }

    /// Completes when there is another answer than the one with this number.
    pub(super) async fn changed(&self, number: u64) {
        let mut now = self.number.subscribe();
        // Its sender is here.
        let _ = now.wait_for(|now| *now != number).await;
    }

    fn tell(&self, last: &Last) -> Told {
        let name = &self.question.host;
        let answer = last.answer.clone().map_err(|miss| match miss {
            Miss::NoAddress => ResolveError::no_address(name),
            Miss::Failed(why) => ResolveError::failed(name, why),
        });
        Told {
            answer,
            valid_for: last.life.saturating_sub(last.at.elapsed()),
            number: *self.number.borrow(),
        }
    }
}

// === impl Last ===

impl Last {
    fn is_good(&self, why: Why, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        match (why, &self.answer) {
            (Why::Loss, _) | (_, Err(_)) => age < FLOOR.mul_f64(PUNCTUAL),
            (Why::Time, Ok(_)) => age < self.life.mul_f64(PUNCTUAL),
        }
    }

    /// A failure says nothing new.
    fn says_the_same(&self, other: &Self) -> bool {
        match (&self.answer, &other.answer) {
            (Ok(one), Ok(other)) => one == other,
            (Err(Miss::NoAddress), Err(Miss::NoAddress)) | (_, Err(Miss::Failed(_))) => true,
            (Err(Miss::Failed(_)), Ok(answer)) => self.known == *answer,
            _ => false,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
