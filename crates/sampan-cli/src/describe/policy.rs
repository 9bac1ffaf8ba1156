//! `sampan describe --policy`: what holds for methods, and who said so.

use crate::{
    args::{DescribeArgs, Task},
    dial,
    failure::Failure,
    output,
    schema::Symbol,
};
use prost_reflect::MethodDescriptor;
use sampan_wire::{
    policy::{EffectivePolicy, Sayings, describe, describe_channel},
    service_config::ServiceConfig,
};
use std::{fs, path::Path};

pub(super) async fn run(args: &DescribeArgs) -> Result<(), Failure> {
    let config = args.service_config.as_deref().map(read).transpose()?;
    let (address, symbol) = Task::address_and_symbol(&args.words, args.schema.has_files())?;
    let opened = dial::open(&args.connection, &args.schema, address.as_deref()).await?;
    let mut schema = opened.schema;
    let names = match symbol {
        Some(name) => vec![name],
        None => schema.services().await?.into_iter().collect(),
    };
    for name in names {
        match schema.symbol(&name).await? {
            Symbol::Service(service) => {
                for method in service.methods() {
                    print(&method, config.as_ref())?;
                }
            }
            Symbol::Method(method) => print(&method, config.as_ref())?,
            other => {
                let kind = other.kind();
                let what = format!("{name} is {kind}; services and methods have policies");
                return Err(Failure::usage(what));
            }
        }
    }
    output::print(&describe_channel(config.as_ref()))
}

fn print(method: &MethodDescriptor, service_config: Option<&ServiceConfig>) -> Result<(), Failure> {
    let declared = sampan_build::declared(method);
    let sayings = Sayings {
        service_config,
        ..Sayings::default()
    };
    let policy = EffectivePolicy::merge(&declared, &sayings);
    output::print(&format!("{}\n", describe(&declared, &policy)))
}

/// Warns of what is ignored.
fn read(path: &Path) -> Result<ServiceConfig, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Configuration(format!("cannot read {shown}: {error}")))?;
    let config = ServiceConfig::parse(&text)
        .map_err(|error| Failure::Configuration(format!("{shown}: {error}")))?;
    for field in config.unknown_fields() {
        eprintln!("warning: {shown}: {field} is not known and ignored");
    }
    Ok(config)
}
