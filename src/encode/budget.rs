//! How many uncompressed bytes may be under way between producers and writers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A counting semaphore that several layers share.
#[derive(Debug)]
pub struct Budget {
    used: Mutex<usize>,
    changed: Condvar,
    total: usize,
}

/// Bytes of a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

/// One layer's access to a budget, which ends when its writer does.
#[derive(Clone, Debug)]
pub struct Account {
    budget: Arc<Budget>,
    closed: Arc<AtomicBool>,
}

impl Budget {
    /// `total` bytes.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { used: Mutex::new(0), changed: Condvar::new(), total })
    }
}

impl Account {
    /// Access to a budget for one layer.
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: budget.clone(), closed: Arc::default() }
    }

    /// Waits until `bytes` fit, or nothing else is under way. `None` when the account was closed: nobody takes results any more.
    pub fn acquire(&self, bytes: usize) -> Option<Permit> {
        let budget = &self.budget;
        let used = budget.used.lock().expect("no holder panics");
        let full = |used: &mut usize| !self.is_closed() && *used > 0 && used.saturating_add(bytes) > budget.total;
        let mut used = budget.changed.wait_while(used, full).expect("no holder panics");
        if self.is_closed() {
            return None;
        }
        *used = used.saturating_add(bytes);
        Some(Permit { budget: budget.clone(), bytes })
    }

    /// Lets the layer's producer go, should it wait.
    pub fn close(&self) {
        // Under the lock, or a producer between its look and its sleep would miss it.
        let _used = self.budget.used.lock().expect("no holder panics");
        self.closed.store(true, Ordering::Relaxed);
        self.budget.changed.notify_all();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().expect("no holder panics");
        *used = used.saturating_sub(self.bytes);
        // All: the layers that wait do so for different amounts.
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_dropped_comes_back_and_a_closed_account_lets_its_producer_go() {
        let budget = Budget::new(100);
        let (one, other) = (Account::new(&budget), Account::new(&budget));
        let first = one.acquire(1000).expect("more than all is given when nothing is under way");
        let waiter = thread::spawn({
            let other = other.clone();
            move || other.acquire(60).is_some()
        });
        drop(first);
        assert!(waiter.join().unwrap());
        assert_eq!(*budget.used.lock().unwrap(), 0);
        let held = one.acquire(90).unwrap();
        let waiter = thread::spawn({
            let other = other.clone();
            move || other.acquire(60).is_some()
        });
        other.close();
        assert!(!waiter.join().unwrap());
        assert!(one.acquire(10).is_some(), "another layer's account is not concerned");
        drop(held);
        assert_eq!(*budget.used.lock().unwrap(), 0);
    }
}
