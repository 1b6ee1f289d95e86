//! Manifests that are about another one: signatures, attestations, and whatever else names it as its `subject`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Descriptor;

/// What a list of referrers says about one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    subject: Named,
    artifact_type: Option<String>,
    config: Option<Typed>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    digest: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

impl Referrer {
    /// Reads a manifest or index; `None` when it names no subject.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The digest of what it is about, of whatever algorithm.
    pub fn subject(&self) -> &str {
        &self.subject.digest
    }

    /// The descriptor for the list: the manifest's annotations, and its artifact type, which is the config's where it has none
    /// (distribution specification, "Pushing Manifests with Subject").
    pub fn describe(self, descriptor: &Descriptor) -> Descriptor {
        let mut described = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
        described.annotations = self.annotations;
        let own = self.artifact_type.filter(|own| !own.is_empty());
        if let Some(artifact_type) = own.or(self.config.map(|config| config.media_type)) {
            described.rest.insert("artifactType".into(), artifact_type.into());
        }
        described
    }
}

/// The tag under which a registry without a list of its own keeps the referrers of `subject` (distribution specification, "Referrers Tag
/// Schema"). `None` when it is no digest.
pub fn tag(subject: &str) -> Option<String> {
    let (algorithm, encoded) = subject.split_once(':').filter(|(a, e)| !a.is_empty() && !e.is_empty())?;
    let fitting = |text: &str, longest: usize| -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        text.chars().take(longest).map(|c| if fits(c) { c } else { '-' }).collect()
    };
    let tag = format!("{}-{}", fitting(algorithm, 32), fitting(encoded, 64));
    // A tag begins with a letter, a digit or a low line.
    (!tag.starts_with(['.', '-'])).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image::media_type;

    #[test]
    fn tags_are_those_of_the_specification() {
        let sha512 = "ab".repeat(64);
        for (subject, expected) in [
            (format!("sha256:{}", "a".repeat(64)), Some(format!("sha256-{}", "a".repeat(64)))),
            (format!("sha512:{sha512}"), Some(format!("sha512-{}", "ab".repeat(32)))),
            ("test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation".into(),
             Some("test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot".into())),
            ("../x:y".into(), None),
            ("sha256".into(), None),
            ("sha256:".into(), None),
        ] {
            assert_eq!(tag(&subject), expected, "{subject}");
        }
    }

    #[test]
    fn the_type_is_its_own_or_the_configs() {
        let of = |more: &str| {
            let text = format!(r#"{{"subject":{{"digest":"sha256:00"}},"annotations":{{"a":"b"}}{more}}}"#);
            let referrer = Referrer::parse(text.as_bytes()).expect("it has a subject");
            assert_eq!(referrer.subject(), "sha256:00");
            let described = referrer.describe(&Descriptor::new(media_type::MANIFEST, Digest::of(b""), 7));
            assert_eq!((described.size, described.annotations["a"].as_str()), (7, "b"));
            described.rest.get("artifactType").and_then(|it| it.as_str()).map(str::to_owned)
        };
        assert_eq!(of("").as_deref(), None);
        assert_eq!(of(r#","config":{"mediaType":"c"}"#).as_deref(), Some("c"));
        assert_eq!(of(r#","artifactType":"","config":{"mediaType":"c"}"#).as_deref(), Some("c"));
        assert_eq!(of(r#","artifactType":"t","config":{"mediaType":"c"}"#).as_deref(), Some("t"));
        for none in [&b"{}"[..], br#"{"subject":null}"#, b"x"] {
            assert!(Referrer::parse(none).is_none());
        }
    }
}
