//! Choosing among the platforms of an index.

use std::str::FromStr;

use super::{Descriptor, Index, Platform};

/// `os/architecture[/variant]`, or just `architecture`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFilter {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text that names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform: write os/architecture[/variant], such as linux/arm64/v8")]
pub struct PlatformFilterError(String);

impl FromStr for PlatformFilter {
    type Err = PlatformFilterError;

    fn from_str(text: &str) -> Result<Self, PlatformFilterError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformFilterError(text.into())),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(PlatformFilterError(text.into()));
        }
        Ok(Self { os: os.into(), architecture: architecture.into(), variant: variant.map(str::to_owned) })
    }
}

impl PlatformFilter {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }
    }

    /// Whether a platform is meant.
    pub fn matches(&self, platform: &Platform) -> bool {
        self.os == platform.os
            && self.architecture == platform.architecture
            && (self.variant.is_none() || self.variant == platform.variant)
    }
}

/// The image of an index that a filter means; the only one of an index that says nothing of platforms.
///
/// # Errors
/// The platforms that there are, as a text, when none is meant.
pub fn choose(index: Index, filter: &PlatformFilter) -> Result<Descriptor, String> {
    let platforms = index.manifests.iter().filter_map(|listed| listed.platform.as_ref());
    let name = |platform: &Platform| {
        let variant = platform.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", platform.os, platform.architecture)
    };
    let have: Vec<String> = platforms.map(name).collect();
    let only = index.manifests.len() == 1 && have.is_empty();
    let fits = |listed: &Descriptor| only || listed.platform.as_ref().is_some_and(|platform| filter.matches(platform));
    index.manifests.into_iter().find(fits).ok_or_else(|| have.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_chosen_by_what_is_said_of_them() {
        let platform = |architecture: &str, variant: Option<&str>| Platform {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: variant.map(str::to_owned),
            rest: serde_json::Map::new(),
        };
        let filter = |text: &str| text.parse::<PlatformFilter>().unwrap();
        assert!(filter("amd64").matches(&platform("amd64", None)));
        assert!(filter("linux/arm").matches(&platform("arm", Some("v7"))));
        assert!(filter("linux/arm/v7").matches(&platform("arm", Some("v7"))));
        assert!(!filter("linux/arm/v6").matches(&platform("arm", Some("v7"))));
        assert!(!filter("windows/amd64").matches(&platform("amd64", None)));
        for bad in ["", "/", "linux/", "a/b/c/d"] {
            assert!(bad.parse::<PlatformFilter>().is_err(), "{bad}");
        }
    }
}
