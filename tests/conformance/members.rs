//! What our scanner reads in a tar, in the words in which the reference tells its members.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chunkify::digest::{Digest, Hasher};
use chunkify::tar::header::{Entry, Kind};
use chunkify::tar::number::Time;
use chunkify::tar::scan::{Event, Fault, FaultKind, Scanner};
use serde_json::{Map, Value, json};

/// A scan to its end or fault.
pub struct Scan {
    pub members: Vec<Value>,
    pub fault: Option<Fault>,
}

impl Scan {
    /// Scans a whole tar.
    pub fn of(tar: &[u8], mut scanner: Scanner) -> Self {
        let mut members: Vec<Value> = Vec::new();
        let mut payload = Hasher::new();
        let mut input = tar;
        let fault = loop {
            match scanner.next(&mut input) {
                Ok(Some(Event::Entry { entry, segment, .. })) => members.push(told(&entry, segment.len())),
                Ok(Some(Event::Payload(bytes))) => payload.update(bytes),
                Ok(Some(Event::PayloadEnd)) => {
                    let digest = std::mem::replace(&mut payload, Hasher::new()).finish();
                    if let Some(member) = members.last_mut() {
                        member["payload"] = json!(digest.to_string());
                    }
                }
                Ok(Some(Event::Trailer(_))) => {}
                Ok(None) => break scanner.finish().err(),
                Err(fault) => break Some(fault),
            }
        };
        Self { members, fault }
    }

    /// How it differs from what the reference reads (`facts`), if it does.
    pub fn differs_from(&self, facts: &Value) -> Option<String> {
        let theirs: Vec<Value> = facts["members"].as_array().cloned().unwrap_or_default();
        // A global header is a member to the reference; to us it ends the scan, or counts for nothing.
        let theirs: Vec<Value> = theirs.into_iter().filter(|member| member["type"] != "g").map(simplified).collect();
        let ours: Vec<Value> = self.members.iter().cloned().map(simplified).collect();
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            // A sparse member's size is what the archive has of it to us, and what it will be to the reference.
            if !ours["sparse"].is_null() {
                continue;
            }
            if let Some(key) = first_difference(ours, theirs) {
                return Some(format!("member {at}: {key} is {} to us, {} to the reference", ours[&key], theirs[&key]));
            }
        }
        if ours.len() > theirs.len() {
            return Some(format!("we read {} members, the reference {}", ours.len(), theirs.len()));
        }
        let refused = facts["read_error"].as_str();
        match &self.fault {
            None if refused.is_some() => Some(format!("we read to the end, the reference says {refused:?}")),
            None if ours.len() < theirs.len() => {
                Some(format!("we read {} members, the reference {}", ours.len(), theirs.len()))
            }
            Some(fault) if is_the_readers(&fault.kind) && refused.is_none() => {
                Some(format!("we say {fault}, the reference reads to the end"))
            }
            _ => None,
        }
    }
}

/// Whether a fault says that Go's reader refuses the tar (and not that it has no form).
fn is_the_readers(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Header(_) | FaultKind::Pax(_) | FaultKind::TooLong { .. })
}

/// Without what one side does not tell.
fn simplified(mut member: Value) -> Value {
    let records = member["pax_records"].take();
    let attributes = records.as_object().cloned().unwrap_or_default();
    let attributes: Map<String, Value> =
        attributes.into_iter().filter(|(key, _)| key.starts_with("SCHILY.xattr.")).collect();
    if member["xattrs"].is_null() {
        member["xattrs"] = Value::Object(attributes);
    }
    let fields = member.as_object_mut().expect("members are objects");
    fields.remove("pax_records");
    fields.remove("raw");
    if fields["type"] == "7" {
        fields["type"] = json!("0");
    }
    // A size on what has no payload: the scanner ends there, or takes it for nothing.
    if fields["type"] != "0" {
        fields.remove("size");
    }
    member
}

fn first_difference(ours: &Value, theirs: &Value) -> Option<String> {
    let keys = |value: &Value| value.as_object().expect("members are objects").keys().cloned().collect::<Vec<_>>();
    keys(ours).into_iter().chain(keys(theirs)).find(|key| ours.get(key) != theirs.get(key))
}

fn told(entry: &Entry, raw: usize) -> Value {
    let kind = match entry.kind {
        Kind::Regular => "0",
        Kind::HardLink => "1",
        Kind::Symlink => "2",
        Kind::Char => "3",
        Kind::Block => "4",
        Kind::Directory => "5",
        Kind::Fifo => "6",
    };
    // JSON keys are text, and Go's encoder makes them so.
    let attributes = entry
        .xattrs
        .iter()
        .map(|(name, value)| (format!("SCHILY.xattr.{}", String::from_utf8_lossy(name)), json!(BASE64.encode(value))));
    let mut member = json!({
        "type": kind, "name": BASE64.encode(&entry.name), "size": entry.size, "mode": entry.mode, "uid": entry.uid,
        "gid": entry.gid, "mod_time": stamp(entry.mtime), "raw": raw,
    });
    member["xattrs"] = Value::Object(attributes.collect());
    let mut more = |key: &str, value: Value, here: bool| {
        if here {
            member[key] = value;
        }
    };
    more("link_name", json!(BASE64.encode(&entry.link_name)), !entry.link_name.is_empty());
    more("access_time", json!(entry.atime.map(stamp)), entry.atime.is_some_and(|time| !stamp(time).is_empty()));
    more("change_time", json!(entry.ctime.map(stamp)), entry.ctime.is_some_and(|time| !stamp(time).is_empty()));
    more("dev_major", json!(entry.dev_major), entry.dev_major != 0);
    more("dev_minor", json!(entry.dev_minor), entry.dev_minor != 0);
    more("sparse", json!(true), entry.sparse.is_some());
    member
}

/// Go's RFC 3339 with nanoseconds; nothing for its zero time, the first second of year 1.
fn stamp(time: Time) -> String {
    if time.seconds == -62_135_596_800 && time.nanos == 0 {
        return String::new();
    }
    let (days, second) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400));
    // Days since 1 March of year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let fraction = format!(".{:09}", time.nanos);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", year.abs())
}

/// The digest of some bytes, as text.
pub fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
