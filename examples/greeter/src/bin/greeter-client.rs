//! Greets by name: `greeter-client [NAME] [TARGET]`.

use greeter::proto::{GreetRequest, greeter_client::GreeterClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sampan::Error> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "world".to_owned());
    let target = arguments
        .next()
        .unwrap_or_else(|| "localhost:50051".to_owned());

    let mut greeter = GreeterClient::dial(target)?;
    let answer = greeter
        .greet(GreetRequest { name })
        .await
        .map_err(sampan::Error::other)?;
    println!("{}", answer.into_inner().text);
    Ok(())
}
