//! Plays a program between two players over a pipe, in time that stands still.

use crate::{
    client::Caller,
    outcome::judge,
    program::Program,
    server::{self, Stage},
};
use futures_util::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    Ours,
    Hyper,
}

/// Nothing waits for time: when it passes, everybody hangs.
const HUNG: Duration = Duration::from_secs(60);

/// What went otherwise than the program says.
pub(crate) fn play(program: &Program, client: Player, server: Player) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(program.pipe);
        let stage = Stage::new(program);
        let (side, on_stage) = (program.server.clone(), Arc::clone(&stage));
        let served = tokio::spawn(async move {
            match server {
                Player::Ours => server::ours(far, &side, on_stage).await,
                Player::Hyper => server::hypers(far, &side, on_stage).await,
            }
        });
        let caller = match client {
            Player::Ours => Caller::ours(near, &program.client).await,
            Player::Hyper => Caller::hypers(near, &program.client).await,
        };
        let mut wrong = Vec::new();
        let calls = stream::iter(program.calls.iter().enumerate())
            .map(|(number, plan)| {
                let caller = &caller;
                async move { (number, plan, timeout(HUNG, caller.call(number, plan)).await) }
            })
            .buffer_unordered(program.at_once)
            .collect::<Vec<_>>()
            .await;
        for (number, plan, outcome) in calls {
            let is_wrong = match outcome {
                Ok(outcome) => judge(program, plan, &outcome),
                Err(_) => Some("it hangs".to_owned()),
            };
            wrong.extend(is_wrong.map(|what| format!("call {number}: {what}")));
        }
        drop(caller);
        match timeout(HUNG, served).await {
            Err(_) => wrong.push("the server's connection does not end".to_owned()),
            Ok(Err(panic)) => wrong.push(panic.to_string()),
            Ok(Ok(Err(error))) => wrong.push(format!("the server's connection: {error}")),
            Ok(Ok(Ok(()))) => {}
        }
        wrong.extend(stage.wrong());
        wrong
    })
}
