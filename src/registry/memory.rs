//! What was learned about hosts, kept from one run to the next.
//!
//! It is a cache: a small file that may be missing, damaged, old or of another version, and is then as good as empty. Several processes
//! may save at once; each adds what it learned to what is there, under a lock, and the new file takes the old one's place in one step.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::host::{FIRST, Learned, TOP};
use crate::limits;
use crate::plan::cost::Line;

const FILE: &str = "hosts.json";
const LOCK: &str = "hosts.lock";
/// Another number when the meaning of a field changes; other versions are not read.
const VERSION: u32 = 1;
/// What a host can do is believed for a week. Servers are updated, caches and proxies come and go.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// That a host refuses several ranges, or more than some, is believed for a day: a day's pulls pay for one request.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The memory of one client.
#[derive(Debug, Default)]
pub(super) struct Memory {
    folder: Option<PathBuf>,
    hosts: BTreeMap<String, Record>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    hosts: BTreeMap<String, Record>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When this was learned, in seconds of Unix time.
    pub at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ranges: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ceiling: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round_trip_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part_us: Option<u64>,
}

impl Memory {
    /// Reads what is in `folder`; without a folder nothing is remembered.
    pub(super) fn load(folder: Option<PathBuf>) -> Self {
        let now = now();
        let mut hosts = folder.as_deref().map(read).unwrap_or_default();
        hosts.retain(|_, record| record.is_fresh(now));
        Self { folder, hosts }
    }

    /// What an earlier run learned about a host.
    pub(super) fn recall(&self, host: &str) -> Learned {
        self.hosts.get(host).map(|record| record.learned(now())).unwrap_or_default()
    }

    /// Adds to the file. A failure is told in the log and nowhere else.
    pub(super) fn save(&self, learned: Vec<(String, Learned)>) {
        let Some(folder) = self.folder.as_deref().filter(|_| !learned.is_empty()) else { return };
        if let Err(why) = add(folder, learned, now()) {
            tracing::info!("what was learned about hosts is not kept in {}: {why}", folder.display());
        }
    }
}

impl Record {
    fn new(learned: &Learned, at: u64) -> Self {
        let Learned { ranges, ceiling, line } = *learned;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            at,
            ranges,
            ceiling,
            round_trip_us: line.round_trip.map(micros),
            bytes_per_second: line.bytes_per_second,
            part_bytes: line.part_bytes,
            part_us: line.part_time.map(micros),
        }
    }

    fn age(&self, now: u64) -> Duration {
        // A clock that was set back makes everything old: what comes from the future cannot be judged.
        now.checked_sub(self.at).map_or(Duration::MAX, Duration::from_secs)
    }

    fn is_fresh(&self, now: u64) -> bool {
        self.age(now) < LIFETIME
    }

    /// The record as far as it is believed now. Numbers from a file are held to what this program could have written.
    pub fn learned(&self, now: u64) -> Learned {
        let refusals = self.age(now) < REFUSAL_LIFETIME;
        let line = Line {
            round_trip: self.round_trip_us.map(|micros| Duration::from_micros(micros.min(60_000_000))),
            bytes_per_second: self.bytes_per_second.filter(|&rate| rate > 0),
            part_bytes: self.part_bytes.filter(|bytes| (1..=limits::PART_HEADER as u64).contains(bytes)),
            part_time: self.part_us.map(|micros| Duration::from_micros(micros.min(60_000_000))),
        };
        let ranges = self.ranges.map(|ranges| ranges.clamp(1, TOP)).filter(|&ranges| ranges > 1 || refusals);
        // A ceiling below the first trial would leave no ranges at all.
        let ceiling = self.ceiling.filter(|ceiling| refusals && (FIRST..=TOP).contains(ceiling));
        Learned { ranges, ceiling, line }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The hosts in the file; none when it cannot be read or understood.
fn read(folder: &Path) -> BTreeMap<String, Record> {
    let path = folder.join(FILE);
    let text = match File::open(&path).and_then(|file| limits::read(file, limits::HOSTS_FILE)) {
        Ok(text) => text,
        Err(why) => {
            if why.kind() != io::ErrorKind::NotFound {
                tracing::info!("{} cannot be read ({why}); hosts are learned anew", path.display());
            }
            return BTreeMap::new();
        }
    };
    parse(&text).unwrap_or_else(|| {
        tracing::info!("{} is damaged or of another version; hosts are learned anew", path.display());
        BTreeMap::new()
    })
}

/// The hosts in the text of a file; `None` when it is no such text.
pub fn parse(text: &[u8]) -> Option<BTreeMap<String, Record>> {
    if text.len() as u64 > limits::HOSTS_FILE {
        return None;
    }
    let contents: Contents = serde_json::from_slice(text).ok()?;
    (contents.version == VERSION).then_some(contents.hosts)
}

/// The text of a file with these hosts; of too many, the oldest are left out.
pub fn text(mut hosts: BTreeMap<String, Record>) -> io::Result<Vec<u8>> {
    while hosts.len() > limits::REMEMBERED_HOSTS {
        let oldest = hosts.iter().min_by_key(|(_, record)| record.at).map(|(host, _)| host.clone());
        oldest.and_then(|host| hosts.remove(&host));
    }
    Ok(serde_json::to_vec_pretty(&Contents { version: VERSION, hosts })?)
}

fn add(folder: &Path, learned: Vec<(String, Learned)>, now: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    lock.lock()?;
    let mut hosts = read(folder);
    hosts.retain(|_, record| record.is_fresh(now));
    hosts.extend(learned.iter().map(|(host, learned)| (host.clone(), Record::new(learned, now))));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&text(hosts)?)?;
    file.persist(folder.join(FILE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://registry.example";

    fn several(ranges: usize) -> Learned {
        let line = Line {
            round_trip: Some(Duration::from_millis(20)),
            bytes_per_second: Some(1_000_000),
            part_bytes: Some(171),
            part_time: Some(Duration::from_micros(340)),
        };
        Learned { ranges: Some(ranges), ceiling: Some(ranges), line }
    }

    fn saved(folder: &Path, learned: Learned) {
        Memory::load(Some(folder.into())).save(vec![(HOST.into(), learned)]);
    }

    #[test]
    fn what_was_learned_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("not/yet");
        saved(&inside, several(16));
        let memory = Memory::load(Some(inside.clone()));
        assert_eq!(memory.recall(HOST), several(16));
        assert_eq!(memory.recall("http://registry.example"), Learned::default(), "another scheme is another host");
        saved(&inside, Learned { ranges: Some(1), ceiling: None, ..several(1) });
        assert_eq!(Memory::load(Some(inside)).recall(HOST).ranges, Some(1), "the newest word counts");
        assert_eq!(Memory::load(None).recall(HOST), Learned::default());
    }

    #[test]
    fn age_takes_belief_away() {
        let record = |learned: Learned| Record::new(&learned, 1_000_000_000);
        let after = |days: u64| 1_000_000_000 + days * 24 * 60 * 60;
        assert_eq!(record(several(16)).learned(after(0)), several(16));
        assert_eq!(record(several(16)).learned(after(2)), Learned { ceiling: None, ..several(16) }, "more is tried");
        assert_eq!(record(several(1)).learned(after(2)).ranges, None, "several are tried again");
        assert!(record(several(16)).is_fresh(after(6)) && !record(several(16)).is_fresh(after(7)));
        assert!(!record(several(16)).is_fresh(999_999_999), "what comes from the future is not believed");
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = now();
        let odd =
            format!(r#"{{"version":1,"hosts":{{"{HOST}":{{"at":{at},"ranges":900000,"part_bytes":99999999}}}}}}"#);
        let none = format!(r#"{{"version":1,"hosts":{{"{HOST}":{{"at":{at},"ceiling":0,"bytes_per_second":0}}}}}}"#);
        let huge = [b" ".repeat(1 << 20), br#"{"version":1,"hosts":{}}"#.to_vec()].concat();
        for (text, ranges) in [
            (&b""[..], None),
            (b"{", None),
            (br#"{"version":2,"hosts":{}}"#, None),
            (br#"{"version":1,"hosts":{"x":{"at":-1}}}"#, None),
            (&huge, None),
            (odd.as_bytes(), Some(TOP)),
            (none.as_bytes(), None),
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let learned = Memory::load(Some(folder.path().into())).recall(HOST);
            assert_eq!(learned, Learned { ranges, ..Learned::default() }, "{}", String::from_utf8_lossy(text));
            saved(folder.path(), several(16));
            assert_eq!(Memory::load(Some(folder.path().into())).recall(HOST), several(16));
        }
    }

    #[test]
    fn many_at_once_lose_nothing_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                let memory = Memory::load(Some(folder.path().into()));
                scope.spawn(move || memory.save(vec![(format!("https://host-{number}"), several(16))]));
            }
        });
        let memory = Memory::load(Some(folder.path().into()));
        assert!((0..16).all(|number| memory.recall(&format!("https://host-{number}")) == several(16)));
        let many = (0..limits::REMEMBERED_HOSTS + 50).map(|number| (format!("https://many-{number}"), several(16)));
        memory.save(many.collect());
        assert_eq!(Memory::load(Some(folder.path().into())).hosts.len(), limits::REMEMBERED_HOSTS);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the file and its lock: {left:?}");
    }
}
