//! What a table of contents cannot say.

/// Why a tar entry cannot be said in a table of contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoForm {
    /// JSON cannot carry it, and Go would put U+FFFD in its place.
    #[error("a {0} that is not UTF-8")]
    NotUtf8(&'static str),
    /// JSON could carry it, but podman's reader of it does not.
    #[error("an extended attribute without a name")]
    NoName,
    /// RFC 3339 cannot say it.
    #[error("a time outside the years 0 to 9999")]
    Time,
}
