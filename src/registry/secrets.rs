//! What must not be shown. Servers can put a secret that they were sent into whatever they answer: an error page, a path that they redirect
//! to. So every secret is noted before it is sent, and whatever of an answer people may see goes through [`scrub`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// Shorter texts are too common to be taken out of others.
const SHORTEST: usize = 4;
/// What stands in the place of a secret.
const STAND_IN: &str = "[secret]";

/// All secrets of this process. It is one set for all clients, so that no way out can be forgotten.
static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Notes a secret, as it is and as it stands in a URL.
pub(super) fn keep(secret: &str) {
    if secret.len() < SHORTEST {
        return;
    }
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(secret.to_owned());
    known.insert(encoded);
}

/// The text without any secret that was noted.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut clean = Cow::Borrowed(text);
    // Longer ones first: one may hold another.
    let mut found: Vec<_> = known.iter().filter(|secret| text.contains(secret.as_str())).collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in found {
        clean = Cow::Owned(clean.replace(secret.as_str(), STAND_IN));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noted_secrets_are_taken_out_of_texts() {
        keep("s3cret/of the tests");
        keep("s3cret/of the tests and more");
        keep("abc");
        assert_eq!(scrub("see s3cret/of the tests and more, abc"), "see [secret], abc");
        assert_eq!(scrub("/x?t=s3cret%2Fof+the+tests"), "/x?t=[secret]");
        assert!(matches!(scrub("nothing here"), Cow::Borrowed("nothing here")));
    }
}
