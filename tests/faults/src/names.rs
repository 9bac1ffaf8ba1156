//! A name server on loopback whose answers a test changes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Answers every question for addresses. Dropped, it is gone.
#[derive(Debug)]
pub struct Names {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a name server says, whatever the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// These addresses, for one second.
    Addresses(Vec<Ipv4Addr>),
    /// There is no such name.
    NoSuchName,
    /// It cannot tell.
    Failure,
    /// Nothing.
    Silence,
}

const HEADER_BYTES: usize = 12;
const LIFETIME: u32 = 1;

// === impl Names ===

impl Names {
    /// One that says these addresses at first.
    #[must_use]
    pub fn start(addresses: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let says = Arc::new(Mutex::new(Says::Addresses(addresses.to_vec())));
        let (asked, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (says, asked, is_over) = (says.clone(), asked.clone(), is_over.clone());
            move || {
                let mut question = [0; 512];
                while !is_over.load(Relaxed) {
                    let Ok((read, from)) = socket.recv_from(&mut question) else {
                        continue;
                    };
                    asked.fetch_add(1, Relaxed);
                    let says = says.lock().unwrap().clone();
                    if let Some(answer) = answer(&question[..read], &says) {
                        // Who asked may be gone.
                        let _: io::Result<usize> = socket.send_to(&answer, from);
                    }
                }
            }
        });
        Self {
            address,
            says,
            asked,
            is_over,
            thread: Some(thread),
        }
    }

    /// A target that asks it: `dns://127.0.0.1:PORT/replicas.test:` and the port.
    #[must_use]
    pub fn target(&self, port: u16) -> String {
        format!("dns://{}/replicas.test:{port}", self.address)
    }

    /// Says so from now on.
    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Questions so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The answer to a question, of RFC 1035; None: there is none, or it is no question.
fn answer(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let mut end = HEADER_BYTES;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let kind = question.get(end + 1..end + 3)?;
    end += 5;
    let addresses = match says {
        Says::Addresses(addresses) if kind == [0, 1] => &addresses[..],
        Says::Silence => return None,
        _ => &[],
    };
    let code = match says {
        Says::NoSuchName => 3,
        Says::Failure => 2,
        _ => 0,
    };
    let mut answer = question.get(..end)?.to_vec();
    // An answer by authority; recursion wanted and to be had.
    answer[2..4].copy_from_slice(&[0x85, 0x80 | code]);
    let count = u16::try_from(addresses.len()).ok()?;
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    for address in addresses {
        // The name of the question, A, IN.
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(LIFETIME.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
