//! Which upstream serves which method.

mod table;

pub(crate) use table::{Described, Method, Table};

use crate::{
    error::{Error, Kind},
    neutral::Fault,
    upstream::Upstream,
};
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use prost_reflect::DescriptorPool;
use sampan_wire::Code;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// Upstreams are not asked again sooner, however many unknown services are called.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The methods of all upstreams. Those of upstreams with reflection are looked up when first
/// needed, again when an unknown one is called, and now and then.
#[derive(Debug)]
pub(crate) struct Routes {
    upstreams: Vec<Upstream>,
    table: ArcSwap<Table>,
    /// Held while upstreams are asked, so that they are asked once for all who wait.
    asked: Arc<Mutex<Asked>>,
    max_age: Duration,
}

/// What the upstreams said last, in their order.
#[derive(Debug)]
struct Asked {
    at: Option<Instant>,
    pools: Vec<Option<DescriptorPool>>,
}

// === impl Routes ===

impl Routes {
    /// Reads the descriptor sets that were given.
    pub(crate) fn new(upstreams: Vec<Upstream>, max_age: Duration) -> Result<Self, Error> {
        if upstreams.is_empty() {
            return Err(Kind::NoUpstream.into());
        }
        let pools = upstreams
            .iter()
            .map(read_set)
            .collect::<Result<Vec<_>, _>>()?;
        let (table, wrong) = build_table(&upstreams, &pools);
        if let Some(wrong) = wrong.into_iter().next() {
            return Err(wrong.into());
        }
        Ok(Self {
            upstreams,
            table: ArcSwap::from_pointee(table),
            asked: Arc::new(Mutex::new(Asked { at: None, pools })),
            max_age,
        })
    }

    /// The full names of the services known now, in order.
    pub(crate) fn services(&self) -> Vec<String> {
        self.table.load().services().map(str::to_owned).collect()
    }

    pub(crate) fn has_service(&self, service: &str) -> bool {
        self.table.load().has_service(service)
    }

    /// The method of this name, asking the upstreams when it is not known.
    pub(crate) async fn find(
        self: &Arc<Self>,
        service: &str,
        method: &str,
    ) -> Result<Arc<Method>, Fault> {
        let unknown = match self.table.load().find(service, method) {
            Ok(found) => {
                self.refresh_in_background();
                return Ok(found);
            }
            Err(unknown) => unknown,
        };
        if !self.has_reflection() {
            return Err(Fault::new(Code::Unimplemented, unknown));
        }
        let mut asked = self.asked.lock().await;
        // Whoever held the lock before may have asked just now.
        if asked.at.is_none_or(|at| at.elapsed() >= MIN_AGE) {
            for wrong in self.ask(&mut asked).await {
                tracing::warn!(target: "sampan", error = %Error::from(wrong), "routes are not up to date");
            }
        }
        let silent = self
            .upstreams
            .iter()
            .zip(&asked.pools)
            .find_map(|(upstream, pool)| pool.is_none().then(|| upstream.name()));
        self.table
            .load()
            .find(service, method)
            .map_err(|unknown| match silent {
                None => Fault::new(Code::Unimplemented, unknown),
                Some(upstream) => Fault::new(
                    Code::Unavailable,
                    format!("{unknown}, and upstream {upstream} cannot be asked for it now"),
                ),
            })
    }

    /// Asks the upstreams with reflection for their services now.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let mut asked = self.asked.lock().await;
        match self.ask(&mut asked).await.into_iter().next() {
            None => Ok(()),
            Some(wrong) => Err(wrong.into()),
        }
    }

    fn has_reflection(&self) -> bool {
        self.upstreams.iter().any(is_reflected)
    }

    /// Looks for changes when the last look is long ago. Calls go on with what is known.
    fn refresh_in_background(self: &Arc<Self>) {
        if !self.has_reflection() {
            return;
        }
        let Ok(asked) = Arc::clone(&self.asked).try_lock_owned() else {
            return;
        };
        if asked.at.is_some_and(|at| at.elapsed() < self.max_age) {
            return;
        }
        let routes = Arc::clone(self);
        tokio::spawn(async move {
            let mut asked = asked;
            for wrong in routes.ask(&mut asked).await {
                tracing::warn!(target: "sampan", error = %Error::from(wrong), "routes are not up to date");
            }
        });
    }

    /// Asks all upstreams with reflection and routes by what they say. One that does not answer
    /// keeps what it said before; of two that clash the first keeps the service.
    async fn ask(&self, asked: &mut Asked) -> Vec<Kind> {
        let mut wrong = Vec::new();
        let answers = self.upstreams.iter().map(|upstream| async move {
            if is_reflected(upstream) {
                Some(upstream.reflect().await)
            } else {
                None
            }
        });
        let answers = join_all(answers).await;
        for ((upstream, pool), answer) in self.upstreams.iter().zip(&mut asked.pools).zip(answers) {
            match answer {
                None => {}
                Some(Ok(described)) => *pool = Some(described),
                Some(Err(source)) => wrong.push(Kind::Reflection {
                    upstream: upstream.name().to_owned(),
                    source,
                }),
            }
        }
        let (table, clashes) = build_table(&self.upstreams, &asked.pools);
        wrong.extend(clashes);
        self.table.store(Arc::new(table));
        asked.at = Some(Instant::now());
        wrong
    }
}

fn is_reflected(upstream: &Upstream) -> bool {
    upstream.descriptor_set().is_none()
}

fn read_set(upstream: &Upstream) -> Result<Option<DescriptorPool>, Kind> {
    let Some(set) = upstream.descriptor_set() else {
        return Ok(None);
    };
    DescriptorPool::decode(set.clone())
        .map(Some)
        .map_err(|source| Kind::DescriptorSet {
            upstream: upstream.name().to_owned(),
            source,
        })
}

fn build_table(upstreams: &[Upstream], pools: &[Option<DescriptorPool>]) -> (Table, Vec<Kind>) {
    Table::build(upstreams.iter().zip(pools).filter_map(|(upstream, pool)| {
        Some(Described {
            upstream: upstream.name(),
            caller: upstream.caller(),
            services: upstream.services(),
            pool: pool.as_ref()?,
        })
    }))
}
