//! A bearer token that stands in a file and changes: a service account's in Kubernetes.

use super::{CallCredentials, CalledMethod, bearer};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};
use tonic::{Status, async_trait, metadata::MetadataMap};

/// `authorization: Bearer …` with the token in a file, which is read again after a minute.
///
/// While it cannot be read, the token before goes on; before the first, calls fail with
/// UNAVAILABLE. A file that holds no token is UNAUTHENTICATED.
pub struct TokenFile {
    path: PathBuf,
    kept: Mutex<Kept>,
}

/// The token, and when to look again. Pure but for the file.
#[derive(Debug, Default)]
struct Kept {
    metadata: Option<MetadataMap>,
    next: Option<Instant>,
}

/// Kubernetes turns a token when a fifth of its time is left, which is two minutes at least.
const INTERVAL: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Longer files hold something else.
const MAX_BYTES: usize = 64 << 10;

// === impl TokenFile ===

impl TokenFile {
    /// Reads the file when the first call wants it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            kept: Mutex::default(),
        }
    }

    fn token(&self, text: &str) -> Result<MetadataMap, Status> {
        bearer(text.trim()).ok_or_else(|| {
            let path = self.path.display();
            Status::unauthenticated(format!("{path} holds no token"))
        })
    }
}

#[async_trait]
impl CallCredentials for TokenFile {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        // One reads, the others want what it reads.
        let mut kept = self.kept.lock().await;
        if !kept.is_due(Instant::now()) {
            return kept.metadata();
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let text = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let now = Instant::now();
        let token = match text {
            Ok(text) => self.token(&text),
            Err(error) => {
                let path = self.path.display();
                Err(Status::unavailable(format!(
                    "{path} cannot be read: {error}"
                )))
            }
        };
        match token {
            Ok(token) => {
                kept.was_read(token, now);
                kept.metadata()
            }
            Err(status) => {
                kept.could_not_be_read(now);
                match &kept.metadata {
                    Some(before) => {
                        tracing::warn!(%status, "the token before goes on");
                        Ok(before.clone())
                    }
                    None => Err(status),
                }
            }
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    std::fs::File::open(path)?
        .take(most)
        .read_to_string(&mut text)?;
    Ok(text)
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out of logs.
        f.debug_struct("TokenFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

// === impl Kept ===

impl Kept {
    fn is_due(&self, now: Instant) -> bool {
        self.metadata.is_none() || self.next.is_none_or(|next| now >= next)
    }

    fn was_read(&mut self, metadata: MetadataMap, now: Instant) {
        self.metadata = Some(metadata);
        self.next = Some(now + INTERVAL);
    }

    fn could_not_be_read(&mut self, now: Instant) {
        self.next = Some(now + RETRY);
    }

    fn metadata(&self) -> Result<MetadataMap, Status> {
        let metadata = self.metadata.clone();
        metadata.ok_or_else(|| Status::unavailable("there is no token yet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(file: &TokenFile) -> Result<String, tonic::Code> {
        let metadata = file.metadata(&CalledMethod::new("a", "/b.C/D")).await;
        let metadata = metadata.map_err(|status| status.code())?;
        let value = metadata.get("authorization").unwrap();
        Ok(value.to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_read_again_after_a_minute_and_the_one_before_outlives_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(&path);
        assert_eq!(told(&file).await, Err(tonic::Code::Unavailable));
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(told(&file).await, Err(tonic::Code::Unauthenticated));
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(told(&file).await.unwrap(), "Bearer first");
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(told(&file).await.unwrap(), "Bearer first");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(told(&file).await.unwrap(), "Bearer second");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(told(&file).await.unwrap(), "Bearer second");
        std::fs::write(&path, "third").unwrap();
        tokio::time::advance(RETRY).await;
        assert_eq!(told(&file).await.unwrap(), "Bearer third");
    }
}
