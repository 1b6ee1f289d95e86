//! Archives put together at random from what headers can say, with the odd things that writers do, and some that none does.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::judge::{Verdict, judge};
use crate::known::KNOWN;
use crate::oracle::Oracle;
use crate::tally::{Difference, Tally};

/// The dialects of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Gnu,
    Star,
}

/// A number in a header: in octal where it fits, else in base 256.
#[derive(Clone, Debug)]
enum Number {
    Of(i64),
    Text(&'static [u8]),
}

#[derive(Clone, Debug)]
struct Member {
    dialect: Dialect,
    flag: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    prefix: Vec<u8>,
    mode: Number,
    uid: Number,
    gid: Number,
    mtime: Number,
    major: Number,
    minor: Number,
    payload: Vec<u8>,
    /// Whether a member that has no payload states one.
    stated: bool,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Archive {
    members: Vec<Member>,
    ending: usize,
}

fn odd<T: Clone + std::fmt::Debug + 'static>(usual: Vec<T>, odd: Vec<T>) -> impl Strategy<Value = T> {
    prop_oneof![24 => prop::sample::select(usual), 1 => prop::sample::select(odd)]
}

fn owned(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.to_vec()).collect()
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let mut usual = owned(&[
        b"a",
        b"b",
        b"c",
        b"d/",
        b"d/e",
        b"d/f",
        b"./g",
        b"./d/h",
        b"/i",
        b"j//k",
        b"l/./m",
        "n\u{e4}".as_bytes(),
        b"<&>",
        b"new\nline",
        b".wh.gone",
        b"d/.wh..wh..opq",
        b"o/p/q/r",
        "\u{2028}".as_bytes(),
        b"s/../t",
        b"u ",
        b"\x01\x7f",
    ]);
    usual.push(b"x".repeat(99));
    usual.push(b"y".repeat(100));
    let mut strange =
        owned(&[b"", b".", b"./", b"/", b"..", b"../up", b"d/../..", b"\xff", b"d/e/below", b"a/below", b"./.", b"//"]);
    strange.push(b"d/".repeat(50));
    odd(usual, strange)
}

fn long_names() -> impl Strategy<Value = Vec<u8>> {
    let path = |element: usize, times: usize| [&b"e".repeat(element)[..], b"/"].concat().repeat(times);
    let usual = vec![
        [&path(60, 4)[..], b"end"].concat(),
        path(100, 2),
        b"v".repeat(150),
        b"w".repeat(255),
        "\u{fc}".repeat(120).into_bytes(),
    ];
    let strange =
        vec![b"z".repeat(256), path(200, 21), b"q\0r".to_vec(), b"\xc3".repeat(120), Vec::new(), b"../".repeat(60)];
    odd(usual, strange)
}

fn numbers(usual: &'static [i64], strange: &'static [i64]) -> impl Strategy<Value = Number> {
    let texts: &[&[u8]] = &[b"", b"       \0", b"12 \0", b"9", b"-1", b"0x1", b"\x80\0\0\x01\0\0\0\0"];
    prop_oneof![
        60 => prop::sample::select(usual).prop_map(Number::Of),
        3 => prop::sample::select(strange).prop_map(Number::Of),
        1 => prop::sample::select(texts.to_vec()).prop_map(Number::Text),
    ]
}

fn records() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let usual: &[(&[u8], &[u8])] = &[
        (b"mtime", b"1700000000.123456789"),
        (b"mtime", b"-1.5"),
        (b"mtime", b"0"),
        (b"mtime", b"0.5"),
        (b"mtime", b""),
        (b"mtime", b"1700000000.1234567891"),
        (b"atime", b"1700000001.5"),
        (b"atime", b"0"),
        (b"ctime", b"-2000000000.25"),
        (b"ctime", b"1"),
        (b"uid", b"3000000"),
        (b"gid", b"4294967294"),
        (b"uid", b""),
        (b"uname", b"me"),
        (b"comment", b"c"),
        (b"SCHILY.xattr.user.a", b"text"),
        (b"SCHILY.xattr.user.b", b"\0\n=\xff"),
        (b"SCHILY.xattr.user.empty", b""),
        (b"SCHILY.xattr.user.n\xc3\xa4me", b"1"),
        (b"SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0\0"),
        (b"SCHILY.xattr.trusted.t", b"1"),
        (b"RHT.security.selinux", b"system_u:object_r:bin_t:s0"),
        (b"SCHILY.acl.access", b"user::rw-,user:1000:rw-,group::r--,mask::rw-,other::r--"),
        (b"LIBARCHIVE.xattr.user.l", b"dGV4dA"),
        (b"LIBARCHIVE.creationtime", b"1700000000"),
        (b"SCHILY.dev", b"1"),
        (b"hdrcharset", b"ISO-IR 10646 2000 UTF-8"),
        (b"GNU.sparse.other", b"1"),
        (b"SCHILY.fflags", b"nodump"),
    ];
    let strange: &[(&[u8], &[u8])] = &[
        (b"path", b"from/pax"),
        (b"path", b"d/"),
        (b"path", b""),
        (b"linkpath", b"a"),
        (b"linkpath", b"from/pax"),
        (b"size", b""),
        (b"size", b"0"),
        (b"uid", b"-1"),
        (b"uid", b"99999999999"),
        (b"gid", b"4294967295"),
        (b"gid", b"x"),
        (b"mtime", b"99999999999999"),
        (b"mtime", b"1e9"),
        (b"mtime", b"-62135596800"),
        (b"mtime", b"253402300800"),
        (b"atime", b"-62135596800"),
        (b"mtime", b".5"),
        (b"mtime", b"1.-5"),
        (b"path", b"nul\0"),
        (b"path", b"\xff"),
        (b"linkpath", b"\xff"),
        (b"SCHILY.xattr.", b"1"),
        (b"SCHILY.xattr.user.\xff", b"1"),
        (b"SCHILY.xattr.user.", b"1"),
        (b"SCHILY.xattr.nonsense", b"1"),
        (b"SCHILY.xattr.security.capability", b"short"),
        (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
        (b"SCHILY.xattr.system.posix_acl_access", b"rubbish"),
        (b"SCHILY.xattr.user.overlay.x", b"y"),
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.map", b"0,1"),
        (b"GNU.sparse.size", b"9"),
        (b"GNU.sparse.name", b"sparse"),
        (b"SCHILY.realsize", b"9"),
        (b"hdrcharset", b"BINARY"),
        (b"", b"1"),
        (b"nul\0key", b"1"),
    ];
    let owned =
        |pairs: &[(&[u8], &[u8])]| pairs.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>();
    odd(owned(usual), owned(strange))
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        3 => (any::<u8>(), prop::sample::select(vec![1_usize, 511, 512, 513, 3000])).prop_map(|(byte, len)| vec![byte; len]),
        1 => Just([vec![1; 300], vec![0; 90_000], (0..200_000_u32).map(|at| (at.wrapping_mul(at) >> 7).to_le_bytes()[0]).collect()].concat()),
    ]
}

fn members() -> impl Strategy<Value = Member> {
    let flags = odd(b"00000000555112346\0".to_vec(), b"7gxLKSDVMNAZ9".to_vec());
    let dialects = prop::sample::select(vec![
        Dialect::V7,
        Dialect::Ustar,
        Dialect::Ustar,
        Dialect::Gnu,
        Dialect::Gnu,
        Dialect::Star,
    ]);
    let prefixes =
        prop_oneof![12 => Just(Vec::new()), 1 => prop::sample::select(owned(&[b"pre/fix", b"d", b"\xff", b"/abs"]))];
    let modes = numbers(&[0o644, 0o755, 0o4755, 0o1777, 0, 0o7777], &[0o100_644, 0o40_755, -1, i64::MAX, 1 << 33]);
    let ids = || {
        numbers(
            &[0, 1000, 2_097_151, 2_097_152, 3_000_000, 4_294_967_294],
            &[-1, 4_294_967_295, 1 << 32, 1 << 40, i64::MIN],
        )
    };
    let times = numbers(
        &[0, 1_700_000_000, -1, -2_000_000_000, 1 << 32, (1 << 33) - 1, 1 << 33],
        &[-62_135_596_800, 253_402_300_800, 1 << 55, i64::MAX],
    );
    let devices = || numbers(&[0, 0, 1, 7, 255, 511], &[4095, 4096, 1_048_576, -1, 1 << 40]);
    let maybe = |strategy: BoxedStrategy<Vec<u8>>| prop_oneof![9 => Just(None), 1 => strategy.prop_map(Some)];
    let words = (names(), names(), prefixes, maybe(long_names().boxed()), maybe(long_names().boxed()));
    let count = prop_oneof![3 => 0..1_usize, 2 => 1..4_usize];
    let records = count.prop_flat_map(|count| prop::collection::vec(records(), count));
    let fields = (modes, ids(), ids(), times, devices(), devices());
    (dialects, flags, words, fields, payloads(), prop::bool::weighted(0.05), records).prop_map(
        |(
            dialect,
            flag,
            (name, link, prefix, long_name, long_link),
            (mode, uid, gid, mtime, major, minor),
            payload,
            stated,
            records,
        )| {
            Member {
                dialect,
                flag,
                name,
                link,
                prefix,
                mode,
                uid,
                gid,
                mtime,
                major,
                minor,
                payload,
                stated,
                records,
                long_name,
                long_link,
            }
        },
    )
}

fn archives() -> impl Strategy<Value = Archive> {
    let endings = odd(vec![1024_usize, 1024, 1024, 10_240], vec![0, 512, 1025, 1536, 1300, 1 << 20]);
    (prop::collection::vec(members(), 0..5), endings).prop_map(|(members, ending)| Archive { members, ending })
}

impl Archive {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for member in &self.members {
            member.append(&mut out);
        }
        out.resize(out.len() + self.ending, 0);
        out
    }
}

impl Member {
    fn append(&self, out: &mut Vec<u8>) {
        if !self.records.is_empty() {
            let body: Vec<u8> = self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            special(out, b'x', &body);
        }
        for (flag, text) in [(b'L', &self.long_name), (b'K', &self.long_link)] {
            if let Some(text) = text {
                special(out, flag, &[&text[..], b"\0"].concat());
            }
        }
        let has_payload = matches!(self.flag, 0 | b'0' | b'7');
        let size = if has_payload || self.stated { self.payload.len() } else { 0 };
        block(out, self, &Number::Of(i64::try_from(size).expect("payloads are short")));
        if has_payload {
            padded(out, &self.payload);
        }
    }
}

/// A PAX record, whose length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

fn special(out: &mut Vec<u8>, flag: u8, body: &[u8]) {
    let (dialect, name): (_, &[u8]) =
        if flag == b'x' { (Dialect::Ustar, b"PaxHeaders/x") } else { (Dialect::Gnu, b"././@LongLink") };
    let zero = || Number::Of(0);
    let member = Member {
        dialect,
        flag,
        name: name.to_vec(),
        link: Vec::new(),
        prefix: Vec::new(),
        mode: Number::Of(0o644),
        uid: zero(),
        gid: zero(),
        mtime: zero(),
        major: zero(),
        minor: zero(),
        payload: Vec::new(),
        stated: false,
        records: Vec::new(),
        long_name: None,
        long_link: None,
    };
    block(out, &member, &Number::Of(i64::try_from(body.len()).expect("records are short")));
    padded(out, body);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn block(out: &mut Vec<u8>, member: &Member, size: &Number) {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, len: usize, bytes: &[u8]| {
        let len = len.min(bytes.len());
        block[at..at + len].copy_from_slice(&bytes[..len]);
    };
    put(0, 100, &member.name);
    for (at, len, number) in [
        (100, 8, &member.mode),
        (108, 8, &member.uid),
        (116, 8, &member.gid),
        (124, 12, size),
        (136, 12, &member.mtime),
    ] {
        put(at, len, &field(number, len));
    }
    put(156, 1, &[member.flag]);
    put(157, 100, &member.link);
    if member.dialect != Dialect::V7 {
        put(257, 8, if member.dialect == Dialect::Gnu { b"ustar  \0" } else { b"ustar\x0000" });
        put(265, 32, b"root");
        put(297, 32, b"root");
        put(329, 8, &field(&member.major, 8));
        put(337, 8, &field(&member.minor, 8));
    }
    match member.dialect {
        Dialect::V7 => {}
        Dialect::Ustar => put(345, 155, &member.prefix),
        // GNU has times where the others have a prefix; old writers put a prefix there all the same.
        Dialect::Gnu if member.prefix.is_empty() => put(345, 12, &field(&member.mtime, 12)),
        Dialect::Gnu => put(345, 155, &member.prefix),
        Dialect::Star => {
            put(345, 131, &member.prefix);
            put(476, 12, &field(&member.mtime, 12));
            put(488, 12, &field(&member.mtime, 12));
            put(508, 4, b"tar\0");
        }
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend(block);
}

/// A numeric field of `len` bytes.
fn field(number: &Number, len: usize) -> Vec<u8> {
    let value = match number {
        Number::Text(text) => return text.to_vec(),
        Number::Of(value) => *value,
    };
    let digits = format!("{value:0width$o}", width = len - 1);
    if value >= 0 && digits.len() < len {
        return [digits.as_bytes(), b"\0"].concat();
    }
    let sign = if value < 0 { 0xff } else { 0 };
    let mut bytes = [vec![sign; 8], value.to_be_bytes().to_vec()].concat().split_off(16 - len);
    bytes[0] |= 0x80;
    bytes
}

/// How many archives somebody wants, who is looking for more than the usual ones.
pub fn asked_for() -> Option<u32> {
    let number = std::env::var("CONFORMANCE_CASES").ok().filter(|number| !number.is_empty())?;
    Some(number.parse().expect("CONFORMANCE_CASES is a number"))
}

#[test]
fn generated() {
    let mut oracle = Oracle::start("generated");
    let mut tally = Tally::new("generated");
    let given = asked_for();
    let cases = given.unwrap_or(192);
    // The same archives in each run, so that a change is judged by what it changes; others where somebody looks for more.
    let mut runner = if given.is_some() { TestRunner::new(Config::default()) } else { TestRunner::deterministic() };
    let mut chunked = 0;
    for number in 0..cases {
        let mut tree = archives().new_tree(&mut runner).expect("nothing is filtered");
        let case = format!("{number}");
        let verdict = ask(&mut oracle, &case, &tree.current());
        chunked += u32::from(verdict.chunked);
        let unknown = first_unknown(&case, &verdict);
        tally.add(&case, &verdict.compared, verdict.differences);
        if let Some(unknown) = unknown {
            let mut smallest = (tree.current(), unknown.clone());
            for _ in 0..300 {
                let Some(simpler) = simplified(&mut oracle, &case, &mut tree, &unknown) else { break };
                smallest = simpler;
            }
            let told = &mut String::new();
            writeln!(told, "{case}, made as simple as it still differs: {:?}\n{:#?}", smallest.1, smallest.0)
                .expect("strings grow");
            eprint!("{told}");
        }
    }
    assert!(chunked * 5 > cases, "only {chunked} of {cases} archives have a faithful form: the generator is too odd");
    tally.settle();
}

fn ask(oracle: &mut Oracle, case: &str, archive: &Archive) -> Verdict {
    let tar = oracle.work().join(format!("{case}.tar"));
    fs::write(&tar, archive.bytes()).expect("an archive can be written");
    let verdict = judge(oracle, &tar);
    if verdict.differences.is_empty() {
        for extension in ["tar", "ours", "reference"] {
            let _ = fs::remove_file(tar.with_extension(extension));
        }
    }
    verdict
}

fn first_unknown(case: &str, verdict: &Verdict) -> Option<Difference> {
    let on_the_list =
        |met: &&Difference| !KNOWN.iter().any(|known| known.suite == "generated" && known.covers(case, met));
    verdict.differences.iter().find(on_the_list).cloned()
}

/// One step to a simpler archive that differs in the same way.
fn simplified(
    oracle: &mut Oracle,
    case: &str,
    tree: &mut impl proptest::strategy::ValueTree<Value = Archive>,
    like: &Difference,
) -> Option<(Archive, Difference)> {
    if !tree.simplify() {
        return None;
    }
    loop {
        let verdict = ask(oracle, &format!("{case}-simpler"), &tree.current());
        if let Some(still) = first_unknown(case, &verdict).filter(|met| met.what == like.what) {
            return Some((tree.current(), still));
        }
        if !tree.complicate() {
            return None;
        }
    }
}
