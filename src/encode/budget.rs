//! How many uncompressed bytes may be under way between the producer and the writer.

use std::sync::{Condvar, Mutex};

/// A counting semaphore that can be closed.
#[derive(Debug)]
pub struct Budget {
    state: Mutex<State>,
    changed: Condvar,
    total: usize,
}

#[derive(Debug)]
struct State {
    used: usize,
    closed: bool,
}

impl Budget {
    /// `total` bytes.
    pub fn new(total: usize) -> Self {
        Self { state: Mutex::new(State { used: 0, closed: false }), changed: Condvar::new(), total }
    }

    /// Waits until `bytes` fit, or nothing else is under way. `false` when the budget was closed: nobody takes results any more.
    pub fn acquire(&self, bytes: usize) -> bool {
        let state = self.state.lock().expect("no holder panics");
        let full = |state: &mut State| !state.closed && state.used > 0 && state.used.saturating_add(bytes) > self.total;
        let mut state = self.changed.wait_while(state, full).expect("no holder panics");
        state.used = state.used.saturating_add(bytes);
        !state.closed
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        let mut state = self.state.lock().expect("no holder panics");
        state.used = state.used.saturating_sub(bytes);
        self.changed.notify_one();
    }

    /// Lets every waiter go.
    pub fn close(&self) {
        self.state.lock().expect("no holder panics").closed = true;
        self.changed.notify_all();
    }
}
