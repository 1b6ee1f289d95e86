#![expect(clippy::disallowed_methods, reason = "tests are shells")]

use std::fs;

use super::*;

fn record(n: u64, offset: u64) -> FrameRecord {
    FrameRecord { key: FrameKey { digest: Digest::of(&n.to_le_bytes()), len: n, compressed: 1 + n % 7 }, offset }
}

fn found(index: &FrameIndex, numbers: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    let keys: Vec<_> = numbers.clone().map(|n| record(n, 0).key).collect();
    let key_of = |at: usize| keys[at];
    let mut wanted = Wanted::new(0..keys.len(), &key_of);
    let mut found = Vec::new();
    let taken = index.find(&mut wanted, |at, record| {
        found.push((numbers.start + at as u64, record.offset));
        true
    });
    taken.unwrap();
    assert_eq!(wanted.missing(), keys.len() - found.len());
    found.sort_unstable();
    found
}

#[test]
fn finds_what_is_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let blob = Digest::of(b"blob");
    assert!(FrameIndex::open(&layout, Shelf::Own, &blob).unwrap().is_none());
    for count in [0, 1, 63, 64, 65, 2047, 2048, 2049, 10_000] {
        let records = (0..count).chain(0..count / 2).map(|n| record(n, n * 7)).collect();
        FrameIndex::save(&layout, Shelf::Own, &blob, 99, records).unwrap();
        let index = FrameIndex::open(&layout, Shelf::Own, &blob).unwrap().unwrap();
        assert_eq!((index.len(), index.blob_size()), (count, 99));
        let expected: Vec<_> = (count / 2..count).map(|n| (n, n * 7)).collect();
        assert_eq!(found(&index, count / 2..count + 100), expected, "{count}");
        let mut all = 0;
        for half in [0..=u64::MAX / 2, u64::MAX / 2 + 1..=u64::MAX] {
            let mut last = None;
            index
                .each(half, |record| {
                    assert!(last < Some(record.key));
                    last = Some(record.key);
                    all += 1;
                })
                .unwrap();
        }
        assert_eq!(all, count);
    }
}

#[test]
fn frames_of_equal_content_and_other_length_are_other_frames() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let blob = Digest::of(b"blob");
    let key = record(1, 0).key;
    let longer = FrameKey { compressed: key.compressed + 1, ..key };
    let records = vec![FrameRecord { key: longer, offset: 9 }, FrameRecord { key, offset: 5 }];
    FrameIndex::save(&layout, Shelf::Own, &blob, 10, records).unwrap();
    let index = FrameIndex::open(&layout, Shelf::Own, &blob).unwrap().unwrap();
    let keys = [longer, FrameKey { len: key.len + 1, ..key }, key, key];
    let key_of = |at: usize| keys[at];
    let mut wanted = Wanted::new(0..4, &key_of);
    let mut found = Vec::new();
    index.find(&mut wanted, |_, _| false).unwrap();
    assert_eq!(wanted.missing(), 4, "what will not do is still looked for");
    let taken = index.find(&mut wanted, |at, record| {
        found.push((at, record.offset));
        true
    });
    taken.unwrap();
    found.sort_unstable();
    assert_eq!(found, [(0, 9), (2, 5), (3, 5)]);
}

#[test]
fn damage_anywhere_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let blob = Digest::of(b"blob");
    FrameIndex::save(&layout, Shelf::Own, &blob, 9, (0..70).map(|n| record(n, n)).collect()).unwrap();
    let path = FrameIndex::path(&layout, Shelf::Own, &blob);
    let good = fs::read(&path).unwrap();
    let try_it = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let index = FrameIndex::open(&layout, Shelf::Own, &blob)?;
        index.expect("it is there").each(0..=u64::MAX, |_| {})
    };
    try_it(&good).unwrap();
    // Every byte of the header and of all ends of blocks; the others stand for each other.
    for at in (0..good.len()).filter(|at| *at < 80 || at % 7 == 0 || at + 300 > good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(try_it(&bad), Err(StoreError::FrameIndex { .. })), "byte {at}");
        if at % 13 == 0 {
            assert!(matches!(try_it(&good[..at]), Err(StoreError::FrameIndex { .. })), "cut at {at}");
        }
    }
    fs::write(FrameIndex::path(&layout, Shelf::Own, &Digest::of(b"other")), &good).unwrap();
    let other = FrameIndex::open(&layout, Shelf::Own, &Digest::of(b"other"));
    assert!(matches!(other, Err(StoreError::FrameIndex { why: "it is of another blob", .. })));
}
