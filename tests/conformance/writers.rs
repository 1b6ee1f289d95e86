//! Tars that GNU tar and bsdtar write, in every format that they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::judge::judge;
use crate::oracle::Oracle;
use crate::support::command::run;
use crate::tally::Tally;

/// The trees that trees.sh makes and every format can be asked for. Those with holes are written apart.
const THEMES: [&str; 10] = ["plain", "names", "links", "special", "xattrs", "acls", "times", "ids", "empty", "dotted"];

/// A way to call a tar program: the case's name and the arguments behind `-cf ARCHIVE -C TREES`.
type Call = (String, Vec<&'static str>);

#[test]
fn gnu_tar() {
    const ALL: [&str; 4] = ["--xattrs", "--xattrs-include=*", "--acls", "--sort=name"];
    let mut calls: Vec<Call> = Vec::new();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        for theme in THEMES {
            let format_option = leaked(format!("--format={format}"));
            // Only PAX records can hold what is in attributes and lists.
            let more = if format == "posix" { &ALL[..] } else { &ALL[3..] };
            calls.push((format!("{format}/{theme}"), [&[format_option], more, &[theme]].concat()));
        }
    }
    let others: &[(&str, &[&str])] = &[
        ("gnu/sparse", &["--format=gnu", "--sparse", "sparse"]),
        ("oldgnu/sparse", &["--format=oldgnu", "--sparse", "sparse"]),
        ("posix/sparse-0.0", &["--format=posix", "--sparse-version=0.0", "--sparse", "sparse"]),
        ("posix/sparse-0.1", &["--format=posix", "--sparse-version=0.1", "--sparse", "sparse"]),
        ("posix/sparse-1.0", &["--format=posix", "--sparse-version=1.0", "--sparse", "sparse"]),
        ("gnu/dot", &["--format=gnu", "--sort=name", "-C", "plain", "."]),
        ("gnu/dotted-names", &["--format=gnu", "--sort=name", "./plain", "./links"]),
        ("gnu/absolute", &["--format=gnu", "--sort=name", "--transform=s,^,/,", "-P", "plain"]),
        ("gnu/above", &["--format=gnu", "--transform=s,^,../,", "-P", "plain/1"]),
        ("gnu/nothing", &["--format=gnu", "-T", "/dev/null"]),
        ("gnu/one-block-records", &["--format=gnu", "-b1", "plain"]),
        ("gnu/label", &["--format=gnu", "-V", "a label", "plain"]),
        ("posix/label", &["--format=posix", "-V", "a label", "plain"]),
        ("gnu/incremental", &["--format=gnu", "-g", "/dev/null", "plain"]),
        ("posix/incremental", &["--format=posix", "-g", "/dev/null", "plain"]),
        ("posix/global", &["--format=posix", "--pax-option=globexthdr.name=g,comment=for all", "plain"]),
        ("posix/comment", &["--format=posix", "--pax-option=comment:=of each", "plain"]),
        ("posix/no-times", &["--format=posix", "--pax-option=delete=atime,delete=ctime,delete=mtime", "times"]),
        ("posix/time-before-1970", &["--format=posix", "--mtime=1901-02-03 04:05:06.7", "plain"]),
        ("posix/binary-names", &["--format=posix", "--pax-option=hdrcharset:=BINARY", "names"]),
        ("gnu/twice", &["--format=gnu", "plain", "plain"]),
        ("gnu/link-first", &["--format=gnu", "links/c-hard", "links/a-file", "links/b-hard"]),
        ("gnu/every-link-a-file", &["--format=gnu", "--hard-dereference", "links"]),
        ("gnu/huge-owner", &["--format=gnu", "--owner=x:4294967294", "--group=y:5", "plain"]),
        ("posix/huge-owner", &["--format=posix", "--owner=x:4294967294", "--group=y:5", "plain"]),
        ("gnu/numeric-owner", &["--format=gnu", "--numeric-owner", "ids"]),
    ];
    calls.extend(others.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.to_vec())));
    suite("gnu-tar", "tar", calls);
}

#[test]
fn bsdtar() {
    let mut calls: Vec<Call> = Vec::new();
    for format in ["v7tar", "ustar", "gnutar", "pax", "paxr"] {
        for theme in THEMES {
            let format_option = leaked(format!("--format={format}"));
            calls.push((format!("{format}/{theme}"), vec![format_option, "--acls", "--xattrs", theme]));
        }
    }
    let others: &[(&str, &[&str])] = &[
        ("pax/sparse", &["--format=pax", "sparse"]),
        ("pax/dot", &["--format=pax", "-C", "plain", "."]),
        ("pax/dotted-names", &["--format=pax", "./plain", "./links"]),
        ("pax/nothing", &["--format=pax", "-T", "/dev/null"]),
        ("pax/absolute", &["--format=pax", "-s,^,/,", "-P", "plain"]),
        ("pax/binary-names", &["--format=pax", "--options=hdrcharset=BINARY", "names"]),
        ("pax/libarchive-attributes", &["--format=pax", "--xattrs", "--options=xattrheader=LIBARCHIVE", "xattrs"]),
        ("pax/schily-attributes", &["--format=pax", "--xattrs", "--options=xattrheader=SCHILY", "xattrs"]),
        ("pax/twice", &["--format=pax", "plain", "plain"]),
        ("pax/huge-owner", &["--format=pax", "--uid=2147483647", "plain"]),
        ("ustar/numeric-owner", &["--format=ustar", "--numeric-owner", "ids"]),
        ("gnutar/huge-owner", &["--format=gnutar", "--uid=2147483647", "plain"]),
    ];
    calls.extend(others.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.to_vec())));
    suite("bsdtar", "bsdtar", calls);
}

/// Has a program write all of these, and judges each.
#[track_caller]
fn suite(name: &'static str, program: &str, calls: Vec<Call>) {
    let mut oracle = Oracle::start(name);
    let mut tally = Tally::new(name);
    let trees = oracle.work().join("trees");
    fs::create_dir_all(&trees).expect("a folder can be made");
    run(Command::new("tests/conformance/trees.sh").arg(&trees)).ok();
    for (case, arguments) in calls {
        let tar = write(program, &trees, &oracle.work().join(case.replace('/', "-")), &arguments);
        let verdict = judge(&mut oracle, &tar);
        tally.add(&case, &verdict.compared, verdict.differences);
        fs::remove_file(tar).expect("an archive can be removed");
    }
    tally.settle();
}

/// The archive that a program writes. What a format cannot hold is left out by the program, which says so in its exit code; the rest counts.
#[track_caller]
fn write(program: &str, trees: &Path, name: &Path, arguments: &[&str]) -> PathBuf {
    let tar = name.with_extension("tar");
    let mut command = Command::new(program);
    command.arg("-cf").arg(&tar).arg("-C").arg(trees).args(arguments);
    let ran = run(command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC"));
    let size = fs::metadata(&tar).map_or(0, |facts| facts.len());
    assert!(size >= 1024, "{} wrote {size} bytes: {}", ran.line, ran.stderr);
    tar
}

fn leaked(text: String) -> &'static str {
    text.leak()
}
