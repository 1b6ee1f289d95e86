//! Modes, times and attributes, as the layers say them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::Place;
use crate::layer::{Layer, MTIME};
use crate::snapshot;

#[test]
fn modes_keep_their_special_bits() {
    let layer = Layer::new().mode(0o4755).file("setuid", "x").mode(0o2775).folder("setgid").mode(0o1777).folder("tmp");
    let layer = layer.mode(0o000).file("tmp/closed", "x").file("setgid/f", "").folder("setgid/d").mode(0o620).fifo("p");
    let place = Place::new(&[layer.done()]);
    place.try_unpack(&[]).ok();
    let mode = |name: &str| fs::symlink_metadata(place.root().join(name)).unwrap().mode() & 0o7777;
    assert_eq!(
        [mode("setuid"), mode("setgid"), mode("tmp"), mode("tmp/closed"), mode("p")],
        [0o4755, 0o2775, 0o1777, 0, 0o620]
    );
    assert_eq!([mode("setgid/f"), mode("setgid/d"), mode(".")], [0o644, 0o755, 0o755]);
}

/// To the nanosecond, of everything; and what is put into or taken from a folder later does not make it younger.
#[test]
fn times_are_those_of_the_layers() {
    let time = |layer: Layer, nanos: &str| layer.record("mtime", format!("{MTIME}.{nanos}"));
    let mut layer = time(Layer::new(), "123456789").folder("d");
    layer = time(layer, "5").file("d/f", "x");
    layer = time(layer, "000000001").symlink("d/s", "f");
    layer = time(layer, "25").fifo("d/p");
    layer = layer.mtime(0).folder("old").file("old/x", "").file("d/gone", "").mtime(77).folder("./");
    let upper =
        Layer::new().file("d/new", "").file("d/.wh.gone", "").file("old/y", "").file("top", "").file("implied/f", "");
    let place = Place::new(&[layer.done(), upper.done()]);
    let tree = place.unpack();
    for (name, time) in [
        ("d", "1700000000.123456789"),
        ("d/f", "1700000000.500000000"),
        ("d/s", "1700000000.000000001"),
        ("d/p", "1700000000.250000000"),
        ("d/new", "1700000000.000000000"),
        ("old", "0.000000000"),
        (".", "77.000000000"),
        // Nobody says anything of it, so it is what it is on every machine.
        ("implied", "0.000000000"),
    ] {
        assert!(tree[name].contains(&format!("time {time}")), "{name}: {}", tree[name]);
    }
    assert!(tree["implied"].contains("mode 0755"), "{tree:?}");
}

#[test]
fn times_of_access_are_kept() {
    let layer = Layer::new().record("atime", "1600000000.5").file("f", "x");
    let place = Place::new(&[layer.done()]);
    place.try_unpack(&[]).ok();
    let metadata = fs::metadata(place.root().join("f")).unwrap();
    assert_eq!((metadata.atime(), metadata.atime_nsec()), (1_600_000_000, 500_000_000));
}

/// A folder that a later layer describes again has that layer's attributes and no others.
#[test]
fn extended_attributes_are_those_of_the_last_layer() {
    let lower = Layer::new()
        .record("SCHILY.xattr.user.one", "1")
        .record("SCHILY.xattr.user.two", b"2\n\0x")
        .folder("d")
        .record("SCHILY.xattr.user.one", "1")
        .file("f", "x");
    let upper = Layer::new().record("SCHILY.xattr.user.three", "3").folder("d").file("f", "y");
    let lower_alone = Place::new(&[lower.done()]);
    let tree = lower_alone.unpack();
    assert!(tree["d"].ends_with(", user.one=1, user.two=2\\n\\x00x"), "{tree:?}");
    assert!(tree["f"].ends_with(", user.one=1"), "{tree:?}");
    let lower = Layer::new()
        .record("SCHILY.xattr.user.one", "1")
        .folder("d")
        .record("SCHILY.xattr.user.one", "1")
        .file("f", "x");
    let both = Place::new(&[lower.done(), upper.done()]).unpack();
    assert!(both["d"].ends_with(", user.three=3") && !both["d"].contains("user.one"), "{both:?}");
    assert!(!both["f"].contains("user."), "{both:?}");
}

#[test]
fn attributes_of_the_machine_are_left_out_and_told() {
    let layer = Layer::new().record("SCHILY.xattr.security.selinux", "system_u:object_r:etc_t:s0").file("f", "x");
    let ran = Place::new(&[layer.done()]).try_unpack(&[]).ok();
    assert!(
        ran.stdout.contains("\"security.selinux\" left out of 1 object: it belongs to a machine"),
        "{}",
        ran.stdout
    );
}

#[test]
fn rootless_owners_are_noted() {
    let layer = Layer::new().owner(1000, 0).file("f", "x").owner(5, 300).folder("d").owner(7, 7).symlink("s", "f");
    let place = Place::new(&[layer.file("mine", "").char("null", 1, 3).done()]);
    let ran = place.try_unpack(&["--rootless"]).ok();
    assert!(ran.stdout.contains("1 device node is an empty file: null"), "{}", ran.stdout);
    let note = |name: &str| snapshot::xattrs(&place.root().join(name)).remove("user.rootlesscontainers");
    assert_eq!(note("f").as_deref(), Some(r"\x08\xe8\x07\x10\xff\xff\xff\xff\x0f"));
    assert_eq!(note("d").as_deref(), Some(r"\x08\x05\x10\xac\x02"));
    assert_eq!((note("mine"), note("s")), (None, None));
    assert!(ran.stdout.contains("\"user.rootlesscontainers\" left out of 1 object"), "{}", ran.stdout);
    for name in [".", "f", "d", "s", "mine", "null"] {
        let metadata = fs::symlink_metadata(place.root().join(name)).unwrap();
        let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!((metadata.uid(), metadata.gid()), caller, "{name}");
    }
}

/// Zeros take no room, wherever they are.
#[test]
fn zeros_are_holes() {
    let mut content = vec![0; 8 << 20];
    content[4 << 20] = 1;
    let place = Place::new(&[Layer::new().file("f", &content).file("zeros", vec![0; 1 << 20]).done()]);
    place.try_unpack(&[]).ok();
    assert_eq!(fs::read(place.root().join("f")).unwrap(), content);
    let blocks = |name: &str| fs::metadata(place.root().join(name)).unwrap().blocks() * 512;
    assert!(blocks("f") <= 128 << 10, "{} bytes", blocks("f"));
    assert!(blocks("zeros") <= 64 << 10, "{} bytes", blocks("zeros"));
    assert_eq!(fs::metadata(place.root().join("zeros")).unwrap().len(), 1 << 20);
}
