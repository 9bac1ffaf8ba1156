//! Talks to whoever asks: rooms in memory, and a helper that answers.

mod helper;
mod room;
mod talk;

use crate::{
    config::Environment,
    proto::{ChatMessage, FILE_DESCRIPTOR_SET, ListenRequest, SayResponse, support_server},
    stopping::Stopping,
};
use futures_util::stream::{self, BoxStream};
use room::{Author, Rooms};
use sampan::{Request, Response, Status, Streaming};

/// Answers calls for support.
#[derive(Clone, Debug)]
struct Support {
    rooms: Rooms,
    stopping: Stopping,
}

/// Serves support.
///
/// # Errors
/// The settings are wrong, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    Environment::of_process()
        .support()
        .map_err(sampan::Error::configuration)?;
    let support = Support {
        rooms: Rooms::default(),
        stopping: Stopping::on_signal().map_err(sampan::Error::other)?,
    };
    sampan::Server::from_env()?
        .add_service(support_server::SupportServer::new(support))
        .reflection(FILE_DESCRIPTOR_SET)
        .serve()
        .await?;
    Ok(())
}

// === impl Support ===

#[sampan::async_trait]
impl support_server::Support for Support {
    type ChatStream = BoxStream<'static, Result<ChatMessage, Status>>;

    async fn chat(
        &self,
        request: Request<Streaming<ChatMessage>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let talk = talk::Talk::new(
            self.rooms.clone(),
            request.into_inner(),
            self.stopping.clone(),
        );
        Ok(Response::new(Box::pin(talk.heard())))
    }

    async fn say(&self, request: Request<ChatMessage>) -> Result<Response<SayResponse>, Status> {
        let message = talk::checked(request.into_inner())?;
        let room = self.rooms.enter(&message.room)?;
        helper::say_and_answer(&room, message, Author::Unnamed)?;
        Ok(Response::new(SayResponse {}))
    }

    type ListenStream = BoxStream<'static, Result<ChatMessage, Status>>;

    async fn listen(
        &self,
        request: Request<ListenRequest>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        let ListenRequest { room } = request.into_inner();
        talk::check_room(&room)?;
        let ear = self.rooms.enter(&room)?.ear_from_the_beginning();
        let stopping = self.stopping.clone();
        let heard = stream::try_unfold((ear, stopping), async |(mut ear, mut stopping)| {
            let message = talk::next_heard(&mut ear, &mut stopping).await?;
            Ok(Some((message, (ear, stopping))))
        });
        Ok(Response::new(Box::pin(heard)))
    }
}
