//! A server under a real memory limit: a cgroup of 64 MB that the test makes. Where it may make
//! none, it says so and tests nothing.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_testing::proto::{EchoRequest, echo_client::EchoClient};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};
use tonic::Code;

const LIMIT: u64 = 64 << 20;
const UPLOADS: usize = 64;
const UPLOAD_BYTES: usize = 4 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// A cgroup of its own below that of the test; removed with this value.
struct Group(PathBuf);

/// A server in it.
struct Server {
    child: Child,
    // Kept open: it logs on.
    _log: BufReader<ChildStderr>,
    _group: Group,
}

// === impl Group ===

impl Group {
    /// Of cgroup v1 or v2, whichever limits memory here.
    fn limited(bytes: u64) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut why = "no cgroup that limits memory".to_owned();
        for line in own.lines() {
            let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
                continue;
            };
            let (mount, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => continue,
            };
            let own = Path::new(mount).join(path.trim_start_matches('/'));
            let folder = own.join(format!("sampan-test-{}", std::process::id()));
            if let Err(error) = fs::create_dir(&folder) {
                why = format!("{}: {error}", folder.display());
                continue;
            }
            let group = Self(folder);
            match fs::write(group.0.join(file), bytes.to_string()) {
                Ok(()) => return Ok(group),
                Err(error) => why = format!("{}/{file}: {error}", group.0.display()),
            }
        }
        Err(why)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that was never used, or whose process has ended.
        fs::remove_dir(&self.0).ok();
    }
}

// === impl Server ===

impl Server {
    /// Starts in `group`, and waits until it listens on `socket`.
    fn start(group: Group, socket: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&group.0)
            .arg(env!("CARGO_BIN_EXE_sampan-echo"))
            .env("PORT", "0")
            .env("SAMPAN_HOST", "127.0.0.1")
            .env("SAMPAN_PROBE_PORT", "off")
            .env("SAMPAN_UNIX_SOCKET", socket)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            assert!(log.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        Self {
            child,
            _log: log,
            _group: group,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Before its group goes. Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn request(payload: usize) -> EchoRequest {
    EchoRequest {
        text: "x".to_owned(),
        payload: vec![7; payload],
        answer_bytes: 1,
        ..EchoRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_uploads_of_4_mib_at_once_fit_into_64_mb() {
    let group = match Group::limited(LIMIT) {
        Ok(group) => group,
        Err(why) => {
            eprintln!("skipped: no memory limit can be set here: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("echo.sock");
    let mut server = Server::start(group, &socket);
    let client = EchoClient::dial(format!("unix:{}", socket.display())).unwrap();
    client.clone().unary(request(0)).await.unwrap();

    // In pieces: they hold little at a time. Whether by piece or whole, one for which there is no
    // room just then is told so, and the process lives.
    let uploads = (0..UPLOADS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let pieces = (0..UPLOAD_BYTES / PIECE_BYTES).map(|_| request(PIECE_BYTES));
            client.client_stream(tokio_stream::iter(pieces)).await
        })
    });
    let mut taken = 0;
    for upload in uploads.collect::<Vec<_>>() {
        match upload.await.unwrap() {
            Ok(_) => taken += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert!(taken > 0);

    // In one message each.
    let uploads = (0..UPLOADS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.unary(request(UPLOAD_BYTES - 64)).await })
    });
    let mut taken = 0;
    for upload in uploads.collect::<Vec<_>>() {
        match upload.await.unwrap() {
            Ok(_) => taken += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert!(taken > 0);
    assert!(server.child.try_wait().unwrap().is_none(), "it was killed");
    client.clone().unary(request(0)).await.unwrap();
}
