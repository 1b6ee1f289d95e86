//! Reading where images are: names, registries.conf, what is remembered of hosts.

use std::time::Duration;

use url::Url;

use crate::limits;
use crate::registry::reference::{Reference, Repository};
use crate::registry::sources::By;
use crate::registry::wire::{FIRST, TOP, hosts_of_text, registries_of_text, text_of_hosts};

/// What is read is written in full, and reads as the same; and as a part of a URL it stays the part that it is.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(read) = text.parse::<Reference>() else { return };
    let full = read.to_string();
    assert_eq!(full.parse().as_ref(), Ok(&read), "{full:?}");
    let (host, path) =
        (read.repo().api_host().to_owned(), format!("/v2/{}/manifests/{}", read.repository(), read.manifest_name()));
    let url = Url::parse(&format!("https://{host}{path}"));
    // A host may have the form of an address and be none (`1.2.3.4.5`); that is told when it is asked.
    let Ok(url) = url else { return };
    assert_eq!(url.path(), path, "the name changes the path");
    assert_eq!((url.query(), url.fragment(), url.username(), url.password()), (None, None, "", None));
    assert!(!text.is_empty() && text.len() <= full.len(), "something of the name is lost");
}

/// One file of registries.conf. As a drop-in it says the same; every place that is asked is one that the file names; and what is blocked
/// is nowhere.
pub fn registries_conf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(main) = registries_of_text(text, false) else { return };
    let drop_in = registries_of_text(text, true);
    for (host, path) in [("a.example", "b/c"), ("docker.io", "library/alpine"), ("x.a.example", "b"), ("h:5000", "b")] {
        let repo = Repository::new(host, path).expect("a name");
        for by in [By::Tag, By::Digest] {
            let places = main.places(&repo, by);
            if let Ok(drop_in) = &drop_in {
                assert_eq!(format!("{:?}", drop_in.places(&repo, by)), format!("{places:?}"));
            }
            let Ok(places) = places else { continue };
            let own = places.last().expect("the registry itself");
            assert!(!own.mirror && own.asked && places.iter().rev().skip(1).all(|place| place.mirror));
            for place in &places {
                let named = text.contains(place.repo.host()) || place.repo == repo || text.contains('\\');
                assert!(named, "{} is asked, which the file does not name", place.repo);
                let again = Repository::new(place.repo.host(), place.repo.name());
                assert_eq!(again.as_ref(), Ok(&place.repo));
            }
        }
    }
}

/// The file with what is known of hosts. What is read is written, and reads as the same, as far as there is room; and no number is
/// believed that this program could not have written.
pub fn hosts(data: &[u8]) {
    let Some(read) = hosts_of_text(data) else { return };
    for record in read.values() {
        for age in [0, 2 * 24 * 60 * 60] {
            let learned = record.learned(record.at.saturating_add(age));
            assert!(learned.ranges.is_none_or(|ranges| (1..=TOP).contains(&ranges)), "{learned:?}");
            assert!(learned.ceiling.is_none_or(|ceiling| (FIRST..=TOP).contains(&ceiling)), "{learned:?}");
            assert!(learned.line.round_trip.is_none_or(|time| time <= Duration::from_secs(60)));
            assert!(learned.line.part_bytes.is_none_or(|bytes| bytes <= limits::PART_HEADER as u64));
        }
    }
    let again = hosts_of_text(&text_of_hosts(read.clone()).expect("JSON")).expect("what is written reads");
    assert_eq!(again.len(), read.len().min(limits::REMEMBERED_HOSTS));
    assert!(again.iter().all(|(host, record)| read.get(host) == Some(record)));
}
