//! `sampan list`: the services of a server, or the methods of one of them.

use crate::{
    args::{ConnectionArgs, ListArgs, SchemaArgs, Task},
    dial,
    failure::Failure,
    output,
    schema::Symbol,
};

pub(crate) async fn run(args: &ListArgs) -> Result<(), Failure> {
    let (address, service) = Task::address_and_symbol(&args.words, args.schema.has_files())?;
    show(
        &args.connection,
        &args.schema,
        address.as_deref(),
        service.as_deref(),
    )
    .await
}

/// Prints one full name a line, in order.
pub(crate) async fn show(
    connection: &ConnectionArgs,
    schema: &SchemaArgs,
    address: Option<&str>,
    service: Option<&str>,
) -> Result<(), Failure> {
    let mut schema = dial::open(connection, schema, address).await?.schema;
    let names = match service {
        None => schema.services().await?.into_iter().collect(),
        Some(name) => match schema.symbol(name).await? {
            Symbol::Service(service) => {
                let mut names: Vec<_> = service
                    .methods()
                    .map(|method| method.full_name().to_owned())
                    .collect();
                names.sort_unstable();
                names
            }
            other => {
                let (name, kind) = (other.full_name(), other.kind());
                return Err(Failure::runtime(format!("{name} is {kind}, not a service")));
            }
        },
    };
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    output::print(&lines)
}
