//! What was compared with whom, and what came out otherwise than the reference has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::known::{KNOWN, Known};
use crate::oracle;

/// Who a case is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `archive/tar`, as tar-split carries it: which members an archive has.
    TarReader,
    /// The reference's compressor: what a table of contents and a tar-split say.
    Compressor,
    /// tar-split's assembler, with payloads from our frames.
    Assembler,
    /// The reference's partial puller, with its overlay store.
    Puller,
    /// The writers of past versions.
    Past,
    /// The writers of formats that are recognised and not read.
    Foreign,
}

impl Peer {
    fn label(self) -> &'static str {
        match self {
            Self::TarReader => "tar reader: members",
            Self::Compressor => "compressor: table of contents, tar-split",
            Self::Assembler => "tar-split's assembler: the tar, from our blob",
            Self::Puller => "partial puller: staged and exported again",
            Self::Past => "past compressors: read, verified, tiled, rebuilt",
            Self::Foreign => "eStargz and dialects without tar-split: taken whole",
        }
    }
}

/// How a case can come out otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Our scanner reads other members than the tar reader.
    Members,
    /// We write a table of contents, the reference does not.
    OnlyOurs,
    /// The entries of the two tables of contents differ.
    Entries,
    /// The two tar-splits differ.
    TarSplit,
    /// Our blob does not give the tar back: to us, or in the assembler's hands.
    Rebuild,
    /// The puller refuses our layer.
    Pull,
    /// We keep a layer plain that the reference can write and pull.
    Plain,
}

/// A difference that was met.
#[derive(Clone, Debug)]
pub struct Difference {
    pub peer: Peer,
    pub what: What,
    pub detail: String,
}

/// The counts of a suite.
pub struct Tally {
    suite: &'static str,
    cases: BTreeMap<Peer, u64>,
    met: Vec<(String, Difference)>,
}

impl Tally {
    /// Nothing yet.
    pub fn new(suite: &'static str) -> Self {
        Self { suite, cases: BTreeMap::new(), met: Vec::new() }
    }

    /// Counts a comparison with a peer.
    pub fn compared(&mut self, peer: Peer) {
        *self.cases.entry(peer).or_default() += 1;
    }

    /// Notes a difference of a case.
    pub fn differs(&mut self, case: &str, difference: Difference) {
        self.met.push((case.to_owned(), difference));
    }

    /// Takes in what a case gave.
    pub fn add(&mut self, case: &str, compared: &[Peer], differences: Vec<Difference>) {
        compared.iter().for_each(|peer| self.compared(*peer));
        differences.into_iter().for_each(|difference| self.differs(case, difference));
    }

    /// Writes the counts down, and holds what was met against the list of known differences: all must be on it, and all on it must have
    /// been met.
    #[track_caller]
    pub fn settle(self) {
        let mine: Vec<&Known> = KNOWN.iter().filter(|known| known.suite == self.suite).collect();
        let on_the_list = |case: &str, met: &Difference| mine.iter().position(|known| known.covers(case, met));
        let mut seen = vec![false; mine.len()];
        let mut known: BTreeMap<Peer, u64> = BTreeMap::new();
        let mut unknown = String::new();
        for (case, met) in &self.met {
            if let Some(at) = on_the_list(case, met) {
                seen[at] = true;
                *known.entry(met.peer).or_default() += 1;
            } else {
                writeln!(unknown, "{case}: {:?}: {}", met.what, met.detail).expect("strings grow");
            }
        }
        let stale: Vec<String> = mine
            .iter()
            .zip(seen)
            .filter(|(_, seen)| !seen)
            .map(|(known, _)| format!("{} {:?}: no longer differs ({})", known.case, known.what, known.why))
            .collect();
        let mut lines = String::new();
        for (peer, cases) in &self.cases {
            let listed = known.get(peer).copied().unwrap_or(0);
            writeln!(lines, "{}\t{cases}\t{listed}", peer.label()).expect("strings grow");
        }
        let counts = counts_dir();
        fs::create_dir_all(&counts).expect("a folder can be made");
        fs::write(counts.join(format!("{}.tsv", self.suite)), lines).expect("counts can be written");
        assert!(unknown.is_empty(), "{}: differences that are on no list:\n{unknown}", self.suite);
        // Archives that are others in each run need not meet all of it.
        let same_each_run = self.suite != "generated" || crate::generated::asked_for().is_none();
        assert!(
            stale.is_empty() || !same_each_run,
            "{}: the list of known differences is stale:\n{}",
            self.suite,
            stale.join("\n")
        );
    }
}

fn counts_dir() -> PathBuf {
    let given = std::env::var_os("CONFORMANCE_COUNTS").map(PathBuf::from);
    given.unwrap_or_else(|| oracle::folder().with_file_name("conformance"))
}
