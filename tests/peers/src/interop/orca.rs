//! The cases of load reports, with a balancer that keeps what the server tells.

use super::{
    cases::{Dial, Passed, same},
    proto::{
        ResponseParameters, SimpleRequest, StreamingOutputCallRequest, TestOrcaReport,
        test_service_client::TestServiceClient,
    },
};
use sampan::client::balance::{
    Balance, CallInfo, LoadReport, Member, Pick, PickFirst, Picker, Policy, RngCore, Ticket,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

/// The first endpoint, and what it told last.
#[derive(Clone, Debug, Default)]
struct Listener(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    with_calls: watch::Sender<Option<LoadReport>>,
    beside_calls: watch::Sender<Option<LoadReport>>,
}

#[derive(Debug)]
struct ListenerPicker {
    first: Arc<dyn Picker>,
    heard: Arc<Heard>,
}

/// Reports beside calls are asked for this often.
const INTERVAL: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn per_call(dial: &Dial<'_>) -> Passed {
    let listener = Listener::default();
    let channel = dial(Some(Balance::policy(listener.clone())))?;
    let told = report(0.8210, 0.5847, &[("cost", 3456.32)], 0.30499);
    let wanted = read(&told);
    let request = SimpleRequest {
        orca_per_query_report: Some(told),
        ..SimpleRequest::default()
    };
    TestServiceClient::new(channel).unary_call(request).await?;
    let heard = listener.0.with_calls.borrow().clone();
    same("report", heard, Some(wanted))
}

pub(super) async fn beside_calls(dial: &Dial<'_>) -> Passed {
    let listener = Listener::default();
    let channel = dial(Some(Balance::policy(listener.clone())))?;
    let (say, said) = mpsc::channel(1);
    let first = report(0.8210, 0.5847, &[], 0.30499);
    let wanted = read(&first);
    say.send(request(first)).await?;
    let mut client = TestServiceClient::new(channel);
    let answers = client.full_duplex_call(ReceiverStream::new(said)).await?;
    let mut answers = answers.into_inner();
    answers.message().await?.ok_or("an end too early")?;
    listener.hears(&wanted).await?;

    let second = report(0.29309, 0.2, &[], 0.2039);
    let wanted = read(&second);
    say.send(request(second)).await?;
    answers.message().await?.ok_or("an end too early")?;
    listener.hears(&wanted).await?;
    drop(say);
    match answers.message().await? {
        None => Ok(()),
        Some(_) => Err("a message too many".into()),
    }
}

fn request(report: TestOrcaReport) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![ResponseParameters {
            size: 1,
            ..ResponseParameters::default()
        }],
        orca_oob_report: Some(report),
        ..StreamingOutputCallRequest::default()
    }
}

fn report(cpu: f64, memory: f64, costs: &[(&str, f64)], util: f64) -> TestOrcaReport {
    let costs = costs.iter();
    TestOrcaReport {
        cpu_utilization: cpu,
        memory_utilization: memory,
        request_cost: costs
            .map(|(name, cost)| ((*name).to_owned(), *cost))
            .collect(),
        utilization: [("util".to_owned(), util)].into(),
    }
}

/// What is to be heard of it.
fn read(told: &TestOrcaReport) -> LoadReport {
    LoadReport {
        cpu_utilization: told.cpu_utilization,
        memory_utilization: told.memory_utilization,
        request_cost: told.request_cost.clone().into_iter().collect(),
        utilization: told.utilization.clone().into_iter().collect(),
        ..LoadReport::default()
    }
}

// === impl Listener ===

impl Listener {
    async fn hears(&self, wanted: &LoadReport) -> Passed {
        let mut heard = self.0.beside_calls.subscribe();
        let comes = heard.wait_for(|heard| heard.as_ref() == Some(wanted));
        if timeout(WITHIN, comes)
            .await
            .is_ok_and(|heard| heard.is_ok())
        {
            return Ok(());
        }
        let last = self.0.beside_calls.borrow().clone();
        Err(format!("{last:?} instead of {wanted:?}").into())
    }
}

impl Policy for Listener {
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        Arc::new(ListenerPicker {
            first: PickFirst::in_order().picker(members, now, rng),
            heard: Arc::clone(&self.0),
        })
    }

    fn reports_every(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn on_report(&self, _: &Member, _: Instant, report: &LoadReport) {
        self.0.beside_calls.send_replace(Some(report.clone()));
    }
}

// === impl ListenerPicker ===

impl Picker for ListenerPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        match self.first.pick(now, rng, call) {
            Pick::Ready(place, _) => {
                let heard = Arc::clone(&self.heard);
                let hears = move |outcome: &sampan::client::balance::Outcome| {
                    heard.with_calls.send_replace(outcome.report.clone());
                };
                Pick::Ready(place, Ticket::telling(hears))
            }
            other => other,
        }
    }
}
