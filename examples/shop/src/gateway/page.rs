//! The page's files, served from memory.
//!
//! Why from memory: they are few, and a request can name nothing that was not read at the start,
//! so no path leads out of the folder.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    future::{Ready, ready},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Answers GET and HEAD for the page's files.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    files: Arc<HashMap<String, File>>,
}

#[derive(Debug)]
struct File {
    content: Bytes,
    kind: &'static str,
    tag: HeaderValue,
}

/// Why a folder is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("SHOP_PAGE: cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("SHOP_PAGE: {} holds more than {MAX_FILES} files or {} MiB: is it the built page?", .0.display(), MAX_BYTES >> 20)]
    TooLarge(PathBuf),
}

const INDEX: &str = "/index.html";
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 32 << 20;
const MAX_DEPTH: usize = 8;

/// What the page may load and be loaded by. Fonts and the icon are in the files themselves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; font-src 'self' data:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const NO_PAGE: &str = "There is no page here: build it in examples/shop/page (npm ci && npm run \
                       build) and set SHOP_PAGE to its dist folder.\n";

// === impl Page ===

impl Page {
    /// Reads all files under `folder`.
    ///
    /// # Errors
    /// It cannot be read, or is too large to be the page.
    pub(super) fn read(folder: &Path) -> Result<Self, PageError> {
        let mut files = HashMap::new();
        let mut bytes = 0;
        let mut folders = vec![(folder.to_owned(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let unreadable = |error| PageError::Read(folder.clone(), error);
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let metadata = entry.metadata().map_err(unreadable)?;
                // A name that is not text cannot be asked for.
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let path = format!("{prefix}/{name}");
                if metadata.is_dir() && depth < MAX_DEPTH {
                    folders.push((entry.path(), path, depth + 1));
                } else if metadata.is_file() {
                    bytes += metadata.len();
                    if files.len() == MAX_FILES || bytes > MAX_BYTES {
                        return Err(PageError::TooLarge(folder));
                    }
                    let content = fs::read(entry.path())
                        .map_err(|error| PageError::Read(entry.path(), error))?;
                    files.insert(path, File::new(&name, content.into()));
                }
            }
        }
        Ok(Self {
            files: Arc::new(files),
        })
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = if path == "/" { INDEX } else { path };
        let Some(file) = self.files.get(path) else {
            let why = if self.files.is_empty() {
                NO_PAGE
            } else {
                "There is nothing here.\n"
            };
            return text(StatusCode::NOT_FOUND, why);
        };
        let mut response = Response::new(Full::default());
        let answered = response.headers_mut();
        answered.insert(header::ETAG, file.tag.clone());
        // Kept, but asked about each time: a new build shows at once.
        answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_known(headers, &file.tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
        if *method == Method::HEAD {
            answered.insert(header::CONTENT_LENGTH, file.content.len().into());
        } else {
            *response.body_mut() = Full::new(file.content.clone());
        }
        response
    }
}

impl<B> Service<Request<B>> for Page {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = self.answer(request.method(), request.uri().path(), request.headers());
        secure(response.headers_mut());
        ready(Ok(response))
    }
}

// === impl File ===

impl File {
    fn new(name: &str, content: Bytes) -> Self {
        let digest = Sha256::digest(&content);
        let hex: String = digest
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tag =
            HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self {
            content,
            kind: kind_of(name),
            tag,
        }
    }
}

fn kind_of(name: &str) -> &'static str {
    match Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str())
    {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether the browser has this version already.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/").as_bytes() == tag.as_bytes())
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn page() -> (tempfile::TempDir, Page) {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("dist");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(around.path().join("secret.txt"), "secret").unwrap();
        fs::write(folder.join("index.html"), "<!doctype html>").unwrap();
        fs::write(folder.join("app.js"), "1").unwrap();
        fs::write(folder.join("deep/app.css"), "a{}").unwrap();
        let page = Page::read(&folder).unwrap();
        (around, page)
    }

    async fn ask(page: &Page, request: http::request::Builder) -> (StatusCode, HeaderMap, String) {
        let response = page.clone().call(request.body(()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            parts.status,
            parts.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn files_come_with_their_kind_and_a_policy() {
        let (_folder, page) = page();
        for (path, kind, content) in [
            ("/", "text/html; charset=utf-8", "<!doctype html>"),
            ("/app.js", "text/javascript; charset=utf-8", "1"),
            ("/deep/app.css", "text/css; charset=utf-8", "a{}"),
        ] {
            let (status, headers, body) = ask(&page, Request::get(path)).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, content), "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], kind, "{path}");
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        }
    }

    #[tokio::test]
    async fn a_known_version_is_not_sent_again() {
        let (_folder, page) = page();
        let (_, headers, _) = ask(&page, Request::get("/app.js")).await;
        let tag = headers[header::ETAG].to_str().unwrap();
        let again =
            Request::get("/app.js").header(header::IF_NONE_MATCH, format!("\"x\", W/{tag}"));
        let (status, _, body) = ask(&page, again).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_served() {
        let (_folder, page) = page();
        for path in [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "//secret.txt",
            "/deep/",
            "/deep",
        ] {
            let (status, _, body) = ask(&page, Request::get(path)).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path} → {body}");
        }
    }

    #[tokio::test]
    async fn only_reading_is_allowed() {
        let (_folder, page) = page();
        let (status, headers, _) = ask(&page, Request::post("/")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(headers[header::ALLOW], "GET, HEAD");
        let (status, headers, body) = ask(&page, Request::head("/app.js")).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
        assert_eq!(headers[header::CONTENT_LENGTH], "1");
    }
}
