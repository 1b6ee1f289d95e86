//! What only root can make: other people's files, device nodes, full disks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::layer::Layer;
use crate::support::command::{chunkify, run};
use crate::{Place, snapshot};

#[test]
#[ignore = "needs root"]
fn owners_and_special_bits_go_together() {
    let layer = Layer::new().owner(1000, 1001).mode(0o6755).file("setuid", "x").owner(12, 34).symlink("s", "setuid");
    let layer = layer
        .owner(5, 6)
        .mode(0o2770)
        .folder("d")
        .file("d/f", "")
        .owner(2_000_000_000, 7)
        .file("big", "")
        .owner(9, 9)
        .fifo("p");
    let tree = Place::new(&[layer.done()]).unpack();
    for (name, facts) in [
        ("setuid", "mode 6755, owner 1000:1001"),
        ("s", "owner 12:34"),
        ("d", "mode 2770, owner 5:6"),
        // Not the folder's group, which the system hands down.
        ("d/f", "mode 0644, owner 0:0"),
        ("big", "owner 2000000000:7"),
        ("p", "owner 9:9"),
    ] {
        assert!(tree[name].contains(facts), "{name}: {}", tree[name]);
    }
}

#[test]
#[ignore = "needs root"]
fn device_nodes_are_made_and_nothing_lies_below_them() {
    let layer = Layer::new()
        .folder("dev")
        .mode(0o666)
        .char("dev/null", 1, 3)
        .owner(0, 6)
        .mode(0o660)
        .block("dev/sda", 8, 0)
        .char("dev/big", 511, 70_000);
    let tree = Place::new(&[layer.done()]).unpack();
    assert!(tree["dev/null"].starts_with("char 1:3, mode 0666, owner 0:0"), "{tree:?}");
    assert!(tree["dev/sda"].starts_with("block 8:0, mode 0660, owner 0:6"), "{tree:?}");
    assert!(tree["dev/big"].starts_with("char 511:70000"), "{tree:?}");
    Place::new(&[Layer::new().char("null", 1, 3).file("null/x", "").done()]).refuses("is no folder");
    Place::new(&[Layer::new().block("sda", 8, 0).symlink("s", "sda").file("s/x", "").done()]).refuses("is no folder");
    // Replaced, not written to: the device would take what is written.
    let written = Place::new(&[Layer::new().char("null", 1, 3).file("null", "a file").done()]).unpack();
    assert!(written["null"].starts_with("file of 6 bytes"), "{written:?}");
}

/// A new owner clears capabilities, and so does writing.
#[test]
#[ignore = "needs root"]
fn capabilities_survive_owner_and_content() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer =
        Layer::new().record("SCHILY.xattr.security.capability", capability).owner(7, 7).mode(0o755).file("ping", "x");
    let layer = layer.record("SCHILY.xattr.trusted.note", "n").symlink("s", "ping");
    let tree = Place::new(&[layer.done()]).unpack();
    assert!(tree["ping"].contains("security.capability=\\x01\\x00\\x00\\x02\\x00 "), "{tree:?}");
    assert!(tree["s"].contains("trusted.note=n"), "{tree:?}");
}

/// What a folder hands down to new objects is not theirs: the layer says what they have.
#[test]
#[ignore = "needs root"]
fn default_lists_are_not_handed_down() {
    // user::rwx, user:7:rwx, group::r-x, mask::rwx, other::r-x
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let list = [
        vec![2, 0, 0, 0],
        entry(1, 7, u32::MAX),
        entry(2, 7, 7),
        entry(4, 5, u32::MAX),
        entry(16, 7, u32::MAX),
        entry(32, 5, u32::MAX),
    ];
    let list = list.concat();
    let layer = Layer::new().record("SCHILY.xattr.system.posix_acl_default", &list).folder("d");
    let layer = layer.file("d/f", "").folder("d/sub").fifo("d/p").file("d/implied/f", "");
    let place = Place::new(&[layer.done()]);
    let tree = place.unpack();
    assert!(tree["d"].contains("system.posix_acl_default"), "{tree:?}");
    for name in ["d/f", "d/sub", "d/p", "d/implied", "d/implied/f"] {
        assert!(!tree[name].contains("posix_acl"), "{name}: {}", tree[name]);
    }
    // Nor does the folder in which the destination lies hand anything down.
    let above = place.path().join("above");
    fs::create_dir(&above).unwrap();
    rustix::fs::setxattr(&above, "system.posix_acl_default", &list, rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::chown(&above, None, Some(rustix::fs::Gid::from_raw(77))).unwrap();
    rustix::fs::chmod(&above, rustix::fs::Mode::from_raw_mode(0o2777)).unwrap();
    let image = format!("oci:{}", place.image().display());
    chunkify(&["unpack", "--no-sync", &image, &above.join("root").display().to_string()]).ok();
    let there = snapshot::of(&above.join("root"));
    assert_eq!(snapshot::differences(&there, &tree), Vec::<String>::new());
}

/// A file system of its own, unmounted at the end.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    #[track_caller]
    fn new(at: &'a Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at)).ok();
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0));
    }
}

/// Out of room for data, and out of inodes, at every size until it fits: an error, and nothing is left.
#[test]
#[ignore = "needs root"]
fn a_full_disk_leaves_nothing() {
    let mut layer = Layer::new().file("big", crate::support::made::noise(1, 600_000));
    for number in 0..40 {
        layer = layer.file(format!("d/{number}"), "some").symlink(format!("s{number}"), "x".repeat(200));
    }
    let place = Place::new(&[layer.done()]);
    let image = format!("oci:{}", place.image().display());
    let (mut failed, mut fitted) = (0, 0);
    let sizes = (1..=10).map(|step| format!("size={}k", step * 100));
    let inodes = (1..=10).map(|step| format!("size=10m,nr_inodes={}", 2 + step * 10));
    for options in sizes.chain(inodes) {
        let small = place.path().join("small");
        let mounted = Mounted::new(&small, &options);
        let ran = chunkify(&["unpack", &image, &small.join("root").display().to_string()]);
        let left: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if ran.success {
            fitted += 1;
            assert_eq!(left, ["root"], "{options}");
            assert_eq!(fs::read_dir(small.join("root/d")).unwrap().count(), 40);
        } else {
            failed += 1;
            assert!(ran.stderr.contains("No space left on device"), "{options}: {}", ran.stderr);
            assert!(left.is_empty(), "{options}: {left:?}");
        }
        drop(mounted);
    }
    assert!(failed > 5 && fitted > 1, "{failed} failed, {fitted} fitted");
}

#[test]
#[ignore = "needs root"]
fn a_mount_point_cannot_be_replaced() {
    let place = Place::new(&[Layer::new().file("f", "x").done()]);
    let at = place.path().join("mounted");
    let _mounted = Mounted::new(&at, "size=1m");
    let image = format!("oci:{}", place.image().display());
    let ran = chunkify(&["unpack", &image, &at.display().to_string()]).refused();
    assert!(ran.stderr.contains("is a mount point"), "{}", ran.stderr);
    chunkify(&["unpack", &image, &at.join("root").display().to_string()]).ok();
    assert_eq!(fs::metadata(at.join("root/f")).unwrap().size(), 1);
}
