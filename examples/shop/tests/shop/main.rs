//! The shop's services, each as a process of its own, through what they serve.

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
