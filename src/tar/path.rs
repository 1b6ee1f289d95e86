//! Paths as Go's `filepath.Clean` writes them: the form in which podman looks for duplicates.

/// The shortest equal path: no empty or `.` elements, `..` taken back where possible, `.` for nothing at all.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for element in path.split(|&byte| byte == b'/') {
        match element {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&last) if last != b".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(element),
            },
            _ => kept.push(element),
        }
    }
    let joined = kept.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cleans_as_go_does() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("./", "."),
            ("a/b/", "a/b"),
            ("./a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("a/../../b", "../b"),
            ("/..", "/"),
            ("/a/../../b", "/b"),
            ("//a", "/a"),
        ] {
            assert_eq!(super::clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
