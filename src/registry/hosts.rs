//! All hosts that a client talks to, and which of them a blob was redirected to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use url::{Origin, Url};

use super::host::Host;
use super::memory::Memory;

/// The hosts of one client.
#[derive(Debug)]
pub(super) struct Hosts {
    requests_in_flight: usize,
    memory: Memory,
    hosts: Mutex<HashMap<Origin, Arc<Host>>>,
    /// The final URL of a blob, by its URL at the registry.
    finals: Mutex<HashMap<Url, Url>>,
    /// Where a registry's blobs were last redirected to: the best guess for a blob that was not asked for yet.
    hints: Mutex<HashMap<Origin, Origin>>,
}

impl Hosts {
    pub(super) fn new(requests_in_flight: usize, memory: Memory) -> Self {
        let (hosts, finals, hints) = Default::default();
        Self { requests_in_flight: requests_in_flight.max(1), memory, hosts, finals, hints }
    }

    /// The host of a URL.
    pub(super) fn of(&self, url: &Url) -> Arc<Host> {
        self.at(url.origin())
    }

    /// The host that a blob will probably come from.
    pub(super) fn expected(&self, url: &Url) -> Arc<Host> {
        let origin = match self.final_url(url) {
            Some(last) => last.origin(),
            None => lock(&self.hints).get(&url.origin()).cloned().unwrap_or_else(|| url.origin()),
        };
        self.at(origin)
    }

    pub(super) fn final_url(&self, url: &Url) -> Option<Url> {
        lock(&self.finals).get(url).cloned()
    }

    pub(super) fn remember(&self, url: &Url, last: &Url) {
        lock(&self.finals).insert(url.clone(), last.clone());
        lock(&self.hints).insert(url.origin(), last.origin());
    }

    pub(super) fn forget(&self, url: &Url) {
        lock(&self.finals).remove(url);
    }

    /// Keeps what was learned for later runs.
    pub(super) fn save(&self) {
        let hosts = lock(&self.hosts);
        let learned = hosts.iter().filter_map(|(origin, host)| Some((origin.ascii_serialization(), host.learned()?)));
        self.memory.save(learned.collect());
    }

    fn at(&self, origin: Origin) -> Arc<Host> {
        let name = origin.ascii_serialization();
        let new = || Arc::new(Host::new(self.requests_in_flight, self.memory.recall(&name)));
        lock(&self.hosts).entry(origin).or_insert_with(new).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
