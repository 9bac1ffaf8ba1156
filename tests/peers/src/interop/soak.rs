//! Many large calls, one after the other, over one channel or over a new one each.

use super::{cases::same, proto::test_service_client::TestServiceClient, size, sized};
use crate::{Failure, flags::Flags};
use sampan::Channel;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How much, and how fast it has to be.
#[derive(Clone, Copy, Debug)]
pub struct SoakSettings {
    iterations: usize,
    failures: usize,
    each: Duration,
    all: Duration,
    request: usize,
    response: usize,
}

// === impl SoakSettings ===

impl SoakSettings {
    /// The flags that are read.
    pub const FLAGS: [&str; 6] = [
        "soak_iterations",
        "soak_max_failures",
        "soak_per_iteration_max_acceptable_latency_ms",
        "soak_overall_timeout_seconds",
        "soak_request_size",
        "soak_response_size",
    ];

    /// Reads the flags; the defaults are grpc-go's.
    ///
    /// # Errors
    /// When one is not a number.
    pub fn read(flags: &Flags) -> Result<Self, Failure> {
        let [iterations, failures, each, all, request, response] = Self::FLAGS;
        Ok(Self {
            iterations: flags.value(iterations, 10)?,
            failures: flags.value(failures, 0)?,
            each: Duration::from_millis(flags.value(each, 1000)?),
            all: Duration::from_secs(flags.value(all, 10)?),
            request: flags.value(request, super::LARGE_REQUEST)?,
            response: flags.value(response, super::LARGE_RESPONSE)?,
        })
    }
}

pub(super) async fn soak(
    channel: &(dyn Fn() -> Result<Channel, sampan::client::Error> + Sync),
    settings: &SoakSettings,
) -> Result<(), Failure> {
    let end = Instant::now() + settings.all;
    let mut failures = 0;
    for iteration in 0..settings.iterations {
        let start = Instant::now();
        let mut client = TestServiceClient::new(channel()?);
        let call = client.unary_call(sized(settings.request, settings.response));
        let answer = timeout_at(end, call)
            .await
            .map_err(|_| format!("{iteration} iterations in {:?}", settings.all))?;
        let right = match answer {
            Ok(answer) => same("payload", size(answer.get_ref()), settings.response),
            Err(status) => Err(status.into()),
        };
        let took = start.elapsed();
        if let Err(error) = right {
            println!("iteration {iteration}: {error}");
            failures += 1;
        } else if took > settings.each {
            println!("iteration {iteration} took {took:?}");
            failures += 1;
        }
    }
    if failures > settings.failures {
        return Err(format!("{failures} of {} iterations failed", settings.iterations).into());
    }
    Ok(())
}
