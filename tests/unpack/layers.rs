//! Layers over layers: what each adds, replaces and takes away.

use crate::Place;
use crate::layer::Layer;
use crate::snapshot::names;

fn lower() -> Layer {
    Layer::new().folder("d").file("d/a", "a").file("d/b", "b").folder("d/sub").file("d/sub/c", "c").file("e", "e")
}

/// One upper layer over [`lower`], and what there is then.
#[track_caller]
fn over(upper: Layer, expected: &[&str]) {
    let tree = Place::new(&[lower().done(), upper.done()]).unpack();
    assert_eq!(names(&tree), expected);
}

#[test]
fn whiteouts_take_files_and_folders_away() {
    over(Layer::new().file("d/.wh.a", ""), &["d", "d/b", "d/sub", "d/sub/c", "e"]);
    over(Layer::new().file(".wh.d", ""), &["e"]);
    over(Layer::new().file("d/.wh.sub", "").file("d/.wh.nothing", ""), &["d", "d/a", "d/b", "e"]);
    over(Layer::new().file("d/.wh.a", "content counts for nothing"), &["d", "d/b", "d/sub", "d/sub/c", "e"]);
    over(Layer::new().hard_link("d/.wh.a", "nothing"), &["d", "d/b", "d/sub", "d/sub/c", "e"]);
}

#[test]
fn whiteouts_spare_their_own_layer() {
    over(Layer::new().file("d/a", "new").file("d/.wh.a", ""), &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e"]);
    over(Layer::new().file("d/.wh.a", "").file("d/a", "new"), &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e"]);
    over(Layer::new().file("d/sub/new", "").file(".wh.d", ""), &["d", "d/sub", "d/sub/new", "e"]);
    over(Layer::new().folder("d").file(".wh.d", ""), &["d", "e"]);
    over(
        Layer::new().file("n/deep/f", "").file(".wh.n", ""),
        &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e", "n", "n/deep", "n/deep/f"],
    );
    // A hard link of this layer to a file below: the link stays, the file goes.
    over(Layer::new().hard_link("link", "d/a").file("d/.wh.a", ""), &["d", "d/b", "d/sub", "d/sub/c", "e", "link"]);
    // Said by another name of the folder.
    let aliased = Layer::new().symlink("alias", "d").file("alias/new", "").file("d/.wh.new", "").file("d/.wh.b", "");
    over(aliased, &["alias", "d", "d/a", "d/new", "d/sub", "d/sub/c", "e"]);
}

#[test]
fn opaque_folders_hide_what_is_below_and_nothing_else() {
    over(Layer::new().file("d/.wh..wh..opq", ""), &["d", "e"]);
    over(Layer::new().file("d/.wh..wh..opq", "").file("d/new", ""), &["d", "d/new", "e"]);
    over(Layer::new().file("d/new", "").file("d/a", "new").file("d/.wh..wh..opq", ""), &["d", "d/a", "d/new", "e"]);
    over(Layer::new().file("d/sub/new", "").file("d/.wh..wh..opq", ""), &["d", "d/sub", "d/sub/new", "e"]);
    over(Layer::new().file(".wh..wh..opq", "").file("f", ""), &["f"]);
    over(Layer::new().file("nothing/.wh..wh..opq", ""), &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e"]);
}

/// In the lowest layer there is nothing to take away.
#[test]
fn whiteouts_of_the_lowest_layer_do_nothing() {
    let layer = lower().file("d/.wh.a", "").file("d/.wh..wh..opq", "").file(".wh.e", "");
    assert_eq!(names(&Place::new(&[layer.done()]).unpack()).len(), 6);
}

#[test]
fn a_third_layer_takes_away_what_the_second_spared() {
    let layers = [
        lower().done(),
        Layer::new().file("d/a", "new").file("d/.wh.a", "").done(),
        Layer::new().file("d/.wh.a", "").done(),
    ];
    assert!(!Place::new(&layers).unpack().contains_key("d/a"));
}

#[test]
fn types_change_between_layers() {
    over(Layer::new().file("d", "a file"), &["d", "e"]);
    over(Layer::new().folder("e").file("e/x", ""), &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e", "e/x"]);
    over(Layer::new().symlink("d", "e"), &["d", "e"]);
    over(Layer::new().folder("d"), &["d", "d/a", "d/b", "d/sub", "d/sub/c", "e"]);
}

/// What is replaced is replaced for its name only: other links to it keep it.
#[test]
fn a_replaced_file_stays_for_its_other_links() {
    let layers = [Layer::new().file("a", "old").hard_link("b", "a").done(), Layer::new().file("a", "newer").done()];
    let tree = Place::new(&layers).unpack();
    assert!(tree["a"].starts_with("file of 5 bytes") && tree["b"].starts_with("file of 3 bytes"), "{tree:?}");
    assert!(!tree["b"].contains("one of"), "{tree:?}");
}

#[test]
fn hard_links_reach_lower_layers() {
    let layers = [Layer::new().folder("d").file("d/a", "x").done(), Layer::new().hard_link("b", "/d/a").done()];
    let tree = Place::new(&layers).unpack();
    assert!(tree["b"].contains("one of 2 like b") && tree["d/a"].contains("one of 2 like b"), "{tree:?}");
}
