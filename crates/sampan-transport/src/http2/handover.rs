//! Who writes to the socket: one at a time, and nothing that was appended is left behind.
//!
//! Held under the connection's lock. Writing itself happens without the lock, so that others can
//! append meanwhile: whoever writes looks for more before leaving, and whoever finds somebody
//! writing leaves it to them.

/// The turns of one connection's writers.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    turn: Turn,
    /// The driver was asked to write and has not begun.
    is_asked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Nobody,
    /// Somebody writes, and looks for more before leaving.
    Somebody,
    /// The socket takes no more: the driver goes on when it does.
    Blocked,
}

/// What is to be done by whoever has appended something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Somebody sees to it already.
    Nothing,
    /// Wake the driver.
    WakeDriver,
    /// Write, and report by [`Handover::wrote`] or [`Handover::is_blocked_now`].
    Write,
}

// === impl Handover ===

impl Handover {
    /// Something was appended. `may_write`: by whoever asks; otherwise the driver does.
    pub(crate) fn appended(&mut self, may_write: bool) -> Step {
        if self.turn != Turn::Nobody {
            return Step::Nothing;
        }
        if may_write {
            self.turn = Turn::Somebody;
            return Step::Write;
        }
        if std::mem::replace(&mut self.is_asked, true) {
            Step::Nothing
        } else {
            Step::WakeDriver
        }
    }

    /// The driver comes by. Whether it is to write; `has_output`: if there is anything.
    pub(crate) fn driver_comes(&mut self, has_output: bool) -> bool {
        // Heard, also where somebody else sees to it: the next to append asks again.
        self.is_asked = false;
        if self.turn == Turn::Somebody {
            return false;
        }
        self.turn = if has_output {
            Turn::Somebody
        } else {
            Turn::Nobody
        };
        has_output
    }

    /// The driver is about to write anyway.
    pub(crate) const fn driver_will_come(&mut self) {
        self.is_asked = true;
    }

    /// A batch was written. Whether there is more to write for the same writer.
    pub(crate) fn wrote(&mut self, has_more: bool) -> bool {
        if !has_more {
            self.turn = Turn::Nobody;
        }
        has_more
    }

    /// The socket took no more; the driver has to be woken, or waits for the socket itself.
    pub(crate) fn is_blocked_now(&mut self) {
        self.turn = Turn::Blocked;
    }

    pub(crate) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.turn == Turn::Blocked
    }

    /// Whether somebody else writes at this moment.
    pub(crate) fn is_taken(&self) -> bool {
        self.turn == Turn::Somebody
    }

    /// The connection is gone, and nothing more leaves.
    pub(crate) const fn end(&mut self) {
        self.turn = Turn::Nobody;
        self.is_asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::{
        sync::{Arc, Mutex},
        thread,
    };

    /// A connection in small: numbers are appended, a batch is written at a time.
    #[derive(Default)]
    struct Model {
        handover: Handover,
        output: Vec<u32>,
        socket: Vec<u32>,
        is_writing: bool,
        /// So many writes find the socket full.
        refusals: u32,
    }

    struct Shared {
        model: Mutex<Model>,
        is_driver_woken: Mutex<bool>,
    }

    impl Shared {
        /// As a caller does: appends, and writes or leaves it to somebody.
        fn append(&self, number: u32, may_write: bool) {
            let mut model = self.model.lock().unwrap();
            model.output.push(number);
            match model.handover.appended(may_write) {
                Step::Nothing => {}
                Step::WakeDriver => {
                    drop(model);
                    self.wake_driver();
                }
                Step::Write => loop {
                    drop(model);
                    let has_written = self.write();
                    model = self.model.lock().unwrap();
                    if !has_written {
                        model.handover.is_blocked_now();
                        drop(model);
                        return self.wake_driver();
                    }
                    let has_more = !model.output.is_empty();
                    if !model.handover.wrote(has_more) {
                        return;
                    }
                },
            }
        }

        fn wake_driver(&self) {
            *self.is_driver_woken.lock().unwrap() = true;
        }

        /// The system call, which others run beside.
        fn write(&self) -> bool {
            let mut model = self.model.lock().unwrap();
            assert!(!model.is_writing, "two write at a time");
            if model.refusals > 0 {
                model.refusals -= 1;
                return false;
            }
            model.is_writing = true;
            let batch = std::mem::take(&mut model.output);
            drop(model);
            thread::yield_now();
            let mut model = self.model.lock().unwrap();
            model.socket.extend(batch);
            model.is_writing = false;
            true
        }

        /// One poll of the driver, if anybody has woken it.
        fn drive(&self) {
            if !std::mem::take(&mut *self.is_driver_woken.lock().unwrap()) {
                return;
            }
            let mut model = self.model.lock().unwrap();
            let has_output = !model.output.is_empty();
            if !model.handover.driver_comes(has_output) {
                return;
            }
            loop {
                drop(model);
                let has_written = self.write();
                model = self.model.lock().unwrap();
                if !has_written {
                    // The socket itself wakes the driver.
                    model.handover.is_blocked_now();
                    drop(model);
                    return self.wake_driver();
                }
                let has_more = !model.output.is_empty();
                if !model.handover.wrote(has_more) {
                    return;
                }
            }
        }
    }

    /// Two callers append while the driver comes by. Afterwards everything has left, or the
    /// driver has been woken and sees to it: no wake is lost.
    fn everything_leaves_once(may_write: [bool; 2], refusals: u32) {
        loom::model(move || {
            let shared = Arc::new(Shared {
                model: Mutex::new(Model {
                    refusals,
                    ..Model::default()
                }),
                is_driver_woken: Mutex::new(false),
            });
            let callers = may_write.map(|may_write| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.append(u32::from(may_write), may_write))
            });
            shared.drive();
            for caller in callers {
                caller.join().unwrap();
            }
            // Twice: the first may find the socket full.
            shared.drive();
            shared.drive();
            // Whatever has happened before, the next is not forgotten.
            shared.append(2, false);
            shared.drive();
            let mut socket = std::mem::take(&mut shared.model.lock().unwrap().socket);
            socket.sort_unstable();
            let mut expected = may_write.map(u32::from).to_vec();
            expected.sort_unstable();
            expected.push(2);
            assert_eq!(socket, expected);
        });
    }

    #[test]
    fn what_callers_leave_to_the_driver_leaves_once() {
        everything_leaves_once([false, false], 0);
    }

    #[test]
    fn what_callers_write_themselves_leaves_once() {
        everything_leaves_once([true, true], 0);
    }

    #[test]
    fn a_caller_that_writes_and_one_that_does_not_lose_nothing() {
        everything_leaves_once([true, false], 0);
    }

    #[test]
    fn a_full_socket_is_left_to_the_driver() {
        everything_leaves_once([true, true], 1);
        everything_leaves_once([true, false], 1);
    }
}
