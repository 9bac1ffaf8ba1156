//! Byte streams as tonic's users have them: by the IO traits of its runtime seam.

pub use hyper::rt::{Read, ReadBufCursor, Write};

use tokio::io::{AsyncRead, AsyncWrite};

/// Makes a byte stream of those traits one of tokio's.
pub fn into_tokio<T>(io: T) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static
where
    T: Read + Write + Send + Unpin + 'static,
{
    hyper_util::rt::TokioIo::new(io)
}
