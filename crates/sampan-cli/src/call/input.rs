//! Requests: from the command line or standard input, as they are read.

use crate::{
    args::Format,
    failure::Failure,
    message::{MessageFormat, Splitter, named_types},
    schema::Schema,
};
use bytes::Bytes;
use prost::Message;
use prost_reflect::MessageDescriptor;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

const CHUNK: usize = 16 * 1024;

/// Where the text of requests comes from.
pub(super) enum Source {
    Text(Option<String>),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// Reads requests and encodes them.
pub(super) struct Requests {
    source: Source,
    splitter: Splitter,
    ended: bool,
    count: usize,
    message: MessageDescriptor,
    format: MessageFormat,
    schema: Schema,
}

/// Why no more requests are sent. Holds the stream of requests open: one that ends would tell
/// the server that these were all.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    _open: mpsc::Sender<Bytes>,
}

// === impl Source ===

impl Source {
    /// `data` as `-d` gives it.
    pub(super) fn new(data: Option<&str>) -> Self {
        match data {
            Some("@") => Self::Reader(Box::new(tokio::io::stdin())),
            data => Self::Text(data.map(str::to_owned)),
        }
    }

    async fn read(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.take().unwrap_or_default().into_bytes()),
            Self::Reader(reader) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                reader.read_buf(&mut chunk).await?;
                Ok(chunk)
            }
        }
    }
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(
        source: Source,
        message: MessageDescriptor,
        format: MessageFormat,
        schema: Schema,
    ) -> Self {
        let splitter = Splitter::new(format.format);
        Self {
            source,
            splitter,
            ended: false,
            count: 0,
            message,
            format,
            schema,
        }
    }

    /// The next request, encoded.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(text) = self.next_text().await? else {
            return Ok(None);
        };
        self.count += 1;
        if self.format.format == Format::Json {
            self.schema.learn(&named_types(&text)).await?;
        }
        let message = self.schema.latest(&self.message);
        let request = self
            .format
            .read(message, &text)
            .map_err(|error| self.fault(error))?;
        Ok(Some(request.encode_to_vec().into()))
    }

    /// The one request of a call that takes one: empty if nothing was written.
    pub(super) async fn only(mut self) -> Result<Bytes, Failure> {
        let request = self.next().await?.unwrap_or_default();
        if self.next_text().await?.is_some() {
            return Err(Failure::runtime(
                "the method takes one request and there are more",
            ));
        }
        Ok(request)
    }

    /// Sends every request as soon as it is read.
    pub(super) async fn feed(mut self, sender: mpsc::Sender<Bytes>) -> Result<(), Broken> {
        loop {
            match self.next().await {
                Ok(Some(request)) => {
                    if sender.send(request).await.is_err() {
                        // Nobody takes it: the call has ended.
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(failure) => {
                    return Err(Broken {
                        failure,
                        _open: sender,
                    });
                }
            }
        }
    }

    async fn next_text(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(text) = self.splitter.next().map_err(|error| self.fault(error))? {
                return Ok(Some(text));
            }
            if self.ended {
                return Ok(None);
            }
            let chunk = self
                .source
                .read()
                .await
                .map_err(|error| Failure::because("cannot read standard input", error))?;
            if chunk.is_empty() {
                self.ended = true;
                return self.splitter.finish().map_err(|error| self.fault(error));
            }
            self.splitter.push(&chunk);
        }
    }

    fn fault(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let which = if self.count < 2 {
            String::new()
        } else {
            format!(" number {}", self.count)
        };
        let name = self.message.full_name();
        Failure::because(format!("the request{which} is no {name}"), error)
    }
}
