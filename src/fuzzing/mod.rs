//! What must hold for every input, each as a function that panics when it does not.
//!
//! A fuzzer calls these with bytes of its own making (`make fuzz`), and the tests with every file of `tests/fuzz/corpus`, so that what a
//! fuzzer once found stays found without one. None is content with "it does not panic": what a reader accepts, the writer
//! reproduces; input that comes in other pieces reads the same; a second, independent way comes to the same end; what is accepted is
//! within the limits. `spec-notes/fuzzing.md` has the list.

mod agreement;
mod documents;
mod encode;
mod frame_index;
mod frame_map;
mod headers;
mod multipart;
mod pieces;
mod places;
mod tail;
mod tar;
mod tar_split;
mod toc;

/// A property of one reader: its name, which is that of the fuzz target and of the folder of its corpus, and the check.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, in reading order of the modules that they hold.
pub const TARGETS: &[Target] = &[
    ("zstd", frame_map::zstd),
    ("tar_scan", tar::scan),
    ("pax", tar::pax),
    ("name", tar::name),
    ("footer", tail::footer),
    ("annotations", tail::annotations),
    ("toc", toc::toc),
    ("tar_split", tar_split::tar_split),
    ("agreement", agreement::agreement),
    ("frame_map", frame_map::frame_map),
    ("encode", encode::encode),
    ("documents", documents::documents),
    ("multipart", multipart::multipart),
    ("content_range", headers::content_range),
    ("range", headers::range),
    ("challenge", headers::challenge),
    ("reference", places::reference),
    ("registries_conf", places::registries_conf),
    ("hosts", places::hosts),
    ("frame_index", frame_index::frame_index),
];

/// Checks one input of a target.
///
/// # Panics
/// When the property does not hold, and when there is no such target.
pub fn check(target: &str, data: &[u8]) {
    let (_, property) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of the list");
    property(data);
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are shells")]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::panic;
    use std::path::Path;

    use super::*;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_corpus_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        let mut wrong = Vec::new();
        for (target, property) in TARGETS {
            let files = names(&corpus.join(target));
            assert!(!files.is_empty(), "{target} has no corpus");
            for file in files {
                let data = fs::read(corpus.join(target).join(&file)).unwrap();
                if panic::catch_unwind(|| property(&data)).is_err() {
                    wrong.push(format!("{target}/{file}"));
                }
            }
        }
        assert!(wrong.is_empty(), "what must hold does not for tests/fuzz/corpus/{}", wrong.join(", "));
        let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&corpus), targets, "a folder of the corpus is of no target");
    }

    #[test]
    fn every_target_can_be_fuzzed() {
        let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
        assert_eq!(names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/targets")), targets);
    }
}
