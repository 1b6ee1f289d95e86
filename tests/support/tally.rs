//! What was compared with which peer, left in `target/conformance/SUITE.tsv` for `make conformance` to show.

use std::fmt::Write as _;
use std::path::Path;

/// One peer, the cases that were compared with it, and the known differences among them.
pub type Row<'a> = (&'a str, usize, usize);

/// Leaves a suite's rows.
pub fn write(suite: &str, rows: &[Row<'_>]) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder holds the temporary one");
    let folder = target.join("conformance");
    let mut text = String::new();
    for (peer, cases, differences) in rows {
        writeln!(text, "{peer}\t{cases}\t{differences}").expect("memory takes all");
    }
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    std::fs::write(folder.join(format!("{suite}.tsv")), text).expect("the target folder can be written to");
}
