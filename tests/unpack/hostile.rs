//! Archives that want out, up, or simply too much. `Place::try_unpack` holds that nothing outside changes, and that nothing is left of
//! what was refused.

use std::fs;

use crate::layer::Layer;
use crate::snapshot::names;
use crate::support::layout;
use crate::{Place, is_root};

/// Unpacks layers that are made with the path of what must not be touched.
#[track_caller]
fn place(layers: impl FnOnce(&str) -> Vec<Vec<u8>>) -> Place {
    let place = Place::empty();
    let outside = place.outside().display().to_string();
    layout::write_image(&place.image(), "image", &layers(&outside), layout::Form::Tar);
    place
}

#[test]
fn names_that_lead_up_are_refused() {
    for name in ["../pwned", "a/../../pwned", "/../pwned", "..", "a/b/../../../pwned", "./../root/x"] {
        Place::new(&[Layer::new().folder("a").file(name, "x").done()]).refuses("the name leads above the root");
    }
}

#[test]
fn absolute_names_start_at_the_root() {
    let place =
        place(|outside| vec![Layer::new().file(format!("{outside}/secret"), "mine").file("//x/./y", "y").done()]);
    let tree = place.unpack();
    assert!(tree.contains_key("x/y"), "{tree:?}");
    let inside = place.root().join(place.outside().strip_prefix("/").unwrap()).join("secret");
    assert_eq!(fs::read(inside).unwrap(), b"mine");
}

#[test]
fn files_through_symlinks_stay_inside() {
    for target in ["absolute", "../../../../../../../../../..", "../outside", "/proc/self/root", "/proc/self/cwd"] {
        let place = place(|outside| {
            let target = if target == "absolute" { outside } else { target };
            vec![Layer::new().symlink("evil", target).file("evil/pwned", "x").folder("evil/more/").done()]
        });
        let tree = place.unpack();
        assert!(tree["evil"].starts_with("symlink"), "{target}: {tree:?}");
        assert!(names(&tree).iter().any(|name| name.ends_with("pwned")), "{target}: {tree:?}");
    }
}

#[test]
fn a_folder_that_becomes_a_symlink_leads_nowhere_else() {
    let place = place(|outside| {
        let swap =
            Layer::new().folder("d").file("d/x", "1").symlink("d", outside).file("d/y", "2").file("d/secret", "3");
        vec![swap.done()]
    });
    let tree = place.unpack();
    assert!(tree["d"].starts_with("symlink") && !tree.contains_key("d/x"), "{tree:?}");
}

/// In a later layer too, and back again.
#[test]
fn symlinks_of_lower_layers_are_followed_inside_only() {
    let place = place(|outside| {
        vec![
            Layer::new().symlink("etc", outside).folder("real").symlink("alias", "/real").done(),
            Layer::new().file("etc/secret", "x").file("alias/f", "through the alias").done(),
            Layer::new().folder("alias").file("alias/g", "a folder now").done(),
        ]
    });
    let tree = place.unpack();
    assert!(tree.contains_key("real/f") && tree.contains_key("alias/g") && !tree.contains_key("real/g"), "{tree:?}");
}

#[test]
fn files_replace_symlinks_and_do_not_follow_them() {
    let place = place(|outside| {
        let layer = Layer::new().symlink("s", format!("{outside}/secret")).file("s", "mine");
        vec![layer.symlink("t", format!("{outside}/secret")).done(), Layer::new().file("t", "mine").done()]
    });
    let tree = place.unpack();
    assert!(tree["s"].starts_with("file of 4 bytes") && tree["t"].starts_with("file of 4 bytes"), "{tree:?}");
}

/// A mode, an owner or a time on an entry that has become a symlink must not reach the target.
#[test]
fn folders_replace_symlinks_and_do_not_follow_them() {
    let place = place(|outside| {
        vec![Layer::new().symlink("d", format!("{outside}/folder")).mode(0o700).mtime(1).folder("d").done()]
    });
    assert!(place.unpack()["d"].starts_with("folder, mode 0700"));
}

#[test]
fn hard_links_reach_nothing_outside() {
    let link = |target: &str| {
        let target = target.to_owned();
        place(move |outside| {
            let layer = Layer::new().symlink("evil", outside).symlink("up", "../outside");
            vec![layer.hard_link("h", target.replace("OUT", outside)).done()]
        })
    };
    link("OUT/secret").refuses("does not exist");
    link("evil/secret").refuses("does not exist");
    link("up/secret").refuses("does not exist");
    link("../outside/secret").refuses("leads above the root");
    link("nothing").refuses("the target \"nothing\" of the hard link does not exist");
    link("h").refuses("does not exist");
    link(".").refuses("is a folder");
}

/// The link is to the symlink; what then replaces it, or is written to it, does not reach the symlink's target.
#[test]
fn hard_links_to_symlinks_link_the_symlink() {
    let place = place(|outside| {
        let layer = Layer::new().symlink("s", format!("{outside}/secret")).hard_link("h", "s");
        vec![layer.done(), Layer::new().file("h", "mine").done()]
    });
    let tree = place.unpack();
    assert!(tree["s"].starts_with("symlink") && tree["h"].starts_with("file of 4"), "{tree:?}");
}

#[test]
fn hard_links_that_undo_themselves() {
    let tree = Place::new(&[Layer::new().file("f", "x").hard_link("f", "f").hard_link("g", "./f").done()]).unpack();
    assert!(tree["f"].contains("one of 2 like f") && tree["g"].contains("one of 2 like f"), "{tree:?}");
    let layer = Layer::new().folder("d").file("d/f", "x");
    Place::new(&[layer.hard_link("d", "d/f").done()]).refuses("does not exist");
    Place::new(&[Layer::new().folder("d").hard_link("h", "d").done()])
        .refuses("the target \"d\" of the hard link is a folder");
}

#[test]
fn whiteouts_name_something_in_their_folder() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh...", "d/.wh.."] {
        let layers = [Layer::new().folder("d").file("d/f", "x").done(), Layer::new().file(name, "").done()];
        Place::new(&layers).refuses("the whiteout names no file");
    }
}

#[test]
fn whiteouts_through_symlinks_stay_inside() {
    for name in ["evil/.wh.secret", "evil/.wh.folder", "evil/.wh..wh..opq", "evil/folder/.wh..wh..opq", "up/.wh.secret"]
    {
        let place = place(|outside| {
            let lower = Layer::new().symlink("evil", outside).symlink("up", "../outside").file("f", "x");
            vec![lower.done(), Layer::new().file(name, "").done()]
        });
        let tree = place.unpack();
        assert!(tree.contains_key("f"), "{name}: {tree:?}");
    }
    // The symlink itself is what a whiteout removes, and what an opaque one in its folder does.
    for name in [".wh.evil", ".wh..wh..opq"] {
        let place =
            place(|outside| vec![Layer::new().symlink("evil", outside).done(), Layer::new().file(name, "").done()]);
        assert!(names(&place.unpack()).is_empty(), "{name}");
    }
}

#[test]
fn nothing_lies_below_what_is_no_folder() {
    Place::new(&[Layer::new().fifo("p").file("p/x", "").done()]).refuses("\"p\", in which it lies, is no folder");
    Place::new(&[Layer::new().file("f", "x").file("f/x", "").done()]).refuses("\"f\", in which it lies, is no folder");
    Place::new(&[Layer::new().file("f", "x").symlink("s", "f").file("s/a/b", "").done()]).refuses("is no folder");
    // And a whiteout there has nothing to take away.
    let layers = [Layer::new().file("f", "x").done(), Layer::new().file("f/.wh.x", "").file("n/.wh.x", "").done()];
    assert_eq!(names(&Place::new(&layers).unpack()), ["f"]);
}

#[test]
fn symlinks_in_circles_end() {
    let circle = Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    Place::new(&[circle.done()]).refuses("leads through too many symlinks");
    let layers = [Layer::new().symlink("a", "a").done(), Layer::new().file("a/.wh.x", "").done()];
    Place::new(&layers).refuses("leads through too many symlinks");
}

#[test]
fn the_root_stays_a_folder() {
    Place::new(&[Layer::new().symlink("./", "/tmp").done()]).refuses("the root can be nothing but a folder");
    Place::new(&[Layer::new().file("/", "x").done()]).refuses("the root can be nothing but a folder");
    let tree = Place::new(&[Layer::new().mode(0o711).folder("./").file("f", "").done()]).unpack();
    assert!(tree["."].starts_with("folder, mode 0711"), "{tree:?}");
}

#[test]
fn long_names() {
    let name = "n".repeat(255);
    let tree = Place::new(&[Layer::new().file(format!("{name}/{name}"), "x").done()]).unpack();
    assert!(tree.contains_key(&format!("{name}/{name}")));
    Place::new(&[Layer::new().file("n".repeat(256), "x").done()]).refuses("name too long");
    let path = "folder/".repeat(1000);
    Place::new(&[Layer::new().file(path, "x").done()]).refuses("more than the 4096 that a path may have");
}

/// Deeper than a path can say, since a symlink halfway down starts anew; and all of it goes again, in this process and in the next.
#[test]
fn thousands_of_nested_folders() {
    let half = "d/".repeat(2000);
    let half = half.trim_end_matches('/');
    let lower = Layer::new().folder(half).symlink("s", half).file(format!("s/{half}/f"), "deep").done();
    let away = Layer::new().file(".wh.d", "").done();
    let tree = Place::new(&[lower.clone(), away.clone()]).unpack();
    assert_eq!(names(&tree), ["s"]);
    let replaced = Layer::new().file("d", "a file now").done();
    assert_eq!(names(&Place::new(&[lower.clone(), replaced]).unpack()), ["d", "s"]);
    // What fails after it is undone in the same way.
    Place::new(&[lower, Layer::new().hard_link("x", "nothing").done()]).refuses("does not exist");
}

#[test]
fn things_become_other_things_and_back() {
    let layer = Layer::new()
        .file("a", "file")
        .folder("a")
        .file("a/b", "in a folder")
        .file("a", "file again")
        .symlink("a", "nowhere")
        .fifo("a")
        .folder("a")
        .file("a/c", "the last");
    let tree = Place::new(&[layer.done()]).unpack();
    assert_eq!(names(&tree), ["a", "a/c"]);
}

#[test]
fn the_last_of_duplicates_counts() {
    let layer = Layer::new()
        .file("f", "first")
        .hard_link("h", "f")
        .file("./f", "second, longer")
        .mode(0o700)
        .folder("d")
        .file("d/x", "stays")
        .mode(0o711)
        .folder("d/");
    let tree = Place::new(&[layer.done()]).unpack();
    assert!(tree["f"].starts_with("file of 14 bytes"), "{tree:?}");
    assert!(tree["h"].starts_with("file of 5 bytes"), "the link keeps what it was a link to: {tree:?}");
    assert!(tree["d"].starts_with("folder, mode 0711") && tree.contains_key("d/x"), "{tree:?}");
}

#[test]
fn names_that_are_no_text_unpack() {
    let layer = Layer::new().file(b"caf\xe9/\xff", "x").symlink(b"s\xfe", b"caf\xe9").hard_link("h", b"caf\xe9/\xff");
    let tree = Place::new(&[layer.done()]).unpack();
    assert_eq!(names(&tree), ["caf\\xe9", "caf\\xe9/\\xff", "h", "s\\xfe"]);
}

#[test]
fn what_old_engines_kept_for_themselves_is_left_out() {
    let layer =
        Layer::new().file(".wh..wh.aufs", "").folder(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x").file("f", "");
    let place = Place::new(&[layer.done()]);
    let ran = place.try_unpack(&[]).ok();
    assert!(ran.stdout.contains("3 entries of an old engine's own"), "{}", ran.stdout);
    assert_eq!(names(&crate::snapshot::of(&place.root())), ["f"]);
}

#[test]
fn owners_that_cannot_be_are_refused() {
    for (uid, gid, what) in [(u64::from(u32::MAX), 0, "owner"), (0, 1 << 33, "group")] {
        let layer = Layer::new().owner(uid, gid).file("f", "x");
        Place::new(&[layer.done()]).refuses(&format!("its {what} is"));
    }
}

#[test]
fn archives_that_end_or_break_are_refused_and_named() {
    let good = || Layer::new().folder("d").file("d/f", "x".repeat(1000));
    Place::new(&[good().cut(700)]).refuses("ends inside a payload, at byte");
    Place::new(&[good().cut(1400)]).refuses("ends inside a header");
    Place::new(&[good().raw(&[b'x'; 512]).done()]).refuses("unreadable tar header");
    let flagged = Layer::new().file("d/f", "x").raw(&{
        let mut header = Layer::new().file("volume", "").cut(0);
        header[156] = b'V';
        let sum: u32 = header[..148].iter().chain(&header[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    });
    Place::new(&[flagged.done()]).refuses("entry type 'V'");
}

/// What is refused has not been written, down to the byte, and holes take nothing.
#[test]
fn an_image_has_room_for_so_much_and_no_more() {
    let zeros = vec![0; 4 << 20];
    let lower = Layer::new().file("d/f", [&[b'x'; 24 * 4096][..], &zeros].concat()).file("hole", &zeros);
    let place = Place::new(&[lower.done(), Layer::new().file("d/f", "again").file("last", "y").done()]);
    let refused = place.try_unpack(&["--max-size", "98309"]).refused();
    for words in ["layer 2 of 2", "entry \"last\"", "more than 98309 bytes", "--max-size"] {
        assert!(refused.stderr.contains(words), "it says {:?} and not {words:?}", refused.stderr);
    }
    place.try_unpack(&["--max-size", "98310"]).ok();
}

/// Nothing is read behind the end of an archive, and all of it is hashed.
#[test]
fn what_follows_the_end_is_not_unpacked() {
    let more = Layer::new().file("more", "x").done();
    let tar = [Layer::new().file("f", "x").done(), more].concat();
    assert_eq!(names(&Place::new(&[tar]).unpack()), ["f"]);
}

#[test]
fn another_tar_than_the_configs_is_refused() {
    let place = Place::empty();
    let tars = [Layer::new().file("f", "x").done(), Layer::new().file("g", "y").done()];
    let diff_ids = [crate::support::content::digest_of(&tars[0]), crate::support::content::digest_of(b"another")];
    layout::write_lying_image(&place.image(), "image", &tars, &diff_ids);
    place.refuses("layer 2 of 2");
    place.refuses("the config's diff_id is");
}

/// Folders that let nobody in do not keep their owner from finishing, or from undoing.
#[test]
fn closed_folders_are_filled_and_removed() {
    let lower = || {
        Layer::new()
            .mode(0o1)
            .folder("closed")
            .file("closed/f", "x")
            .mode(0o1)
            .folder("closed/inner")
            .symlink("s", "closed")
    };
    let through = Layer::new().file("s/inner/g", "y").done();
    let place = Place::new(&[lower().done(), through]);
    place.try_unpack(&["--rootless"]).ok();
    let mode = |name: &str| {
        std::os::unix::fs::MetadataExt::mode(&fs::symlink_metadata(place.root().join(name)).unwrap()) & 0o777
    };
    assert_eq!(mode("closed"), 0o1);
    if is_root() {
        assert_eq!(mode("closed/inner"), 0o1);
    }
    rustix::fs::chmod(place.root().join("closed"), rustix::fs::Mode::RWXU).unwrap();
    rustix::fs::chmod(place.root().join("closed/inner"), rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(fs::read(place.root().join("closed/inner/g")).unwrap(), b"y");
    let layers = [lower().done(), Layer::new().file(".wh.closed", "").done()];
    let place = Place::new(&layers);
    place.try_unpack(&["--rootless"]).ok();
    assert_eq!(names(&crate::snapshot::of(&place.root())), ["s"]);
    Place::new(&[lower().hard_link("x", "nothing").done()]).refuses("does not exist");
}
