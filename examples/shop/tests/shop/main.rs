//! The shop's services, each as a process of its own, through what they serve.

#![allow(clippy::unwrap_used, reason = "what does not work fails the test")]

mod catalog;
mod crash;
mod gateway;
mod http;
mod keeper;
mod orders;
mod payments;
mod postgres;
mod process;
mod settings;
mod support;
mod tracking;
