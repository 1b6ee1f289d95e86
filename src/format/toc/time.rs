//! Times as Go's JSON writes them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::tar::number::Time;

use super::no_form::NoForm;

/// A time that has a form in the table of contents: RFC 3339, years 0 to 9999.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Go's zero time, the start of year 1, which the table of contents leaves out.
    const GO_ZERO: i64 = -62_135_596_800;

    /// A tar's time. `Ok(None)` is Go's zero time.
    ///
    /// # Errors
    /// [`NoForm::Time`] for a year that RFC 3339 cannot say.
    pub fn from_tar(moment: Time) -> Result<Option<Self>, NoForm> {
        if moment == Time::seconds(Self::GO_ZERO) {
            return Ok(None);
        }
        let at = OffsetDateTime::from_unix_timestamp(moment.seconds).map_err(|_| NoForm::Time)?;
        let at = at.replace_nanosecond(moment.nanos).map_err(|_| NoForm::Time)?;
        if (0..=9999).contains(&at.year()) { Ok(Some(Self(at))) } else { Err(NoForm::Time) }
    }

    /// What readers take for no time at all: Go's zero and the start of 1970.
    fn is_zero(self) -> bool {
        self.0.nanosecond() == 0 && matches!(self.0.unix_timestamp(), 0 | Self::GO_ZERO)
    }

    /// Whether podman takes two times for the same.
    pub fn agree(a: Option<Self>, b: Option<Self>) -> bool {
        let given = |time: Option<Self>| time.filter(|time| !time.is_zero());
        given(a) == given(b)
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.0.unix_timestamp_nanos() == other.0.unix_timestamp_nanos()
    }
}

impl Eq for Timestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_go_writes() {
        let table = [
            ((0, 0), "\"1970-01-01T00:00:00Z\""),
            ((1_350_244_992, 23_960_108), "\"2012-10-14T20:03:12.023960108Z\""),
            ((1_350_244_992, 300_000_000), "\"2012-10-14T20:03:12.3Z\""),
            ((-1, 500_000_000), "\"1969-12-31T23:59:59.5Z\""),
            ((253_402_300_799, 0), "\"9999-12-31T23:59:59Z\""),
        ];
        for ((seconds, nanos), expected) in table {
            let time = Timestamp::from_tar(Time { seconds, nanos }).unwrap().unwrap();
            assert_eq!(serde_json::to_string(&time).unwrap(), expected);
            assert_eq!(serde_json::from_str::<Timestamp>(expected).unwrap(), time);
        }
        assert_eq!(Timestamp::from_tar(Time::seconds(253_402_300_800)), Err(NoForm::Time));
        assert_eq!(Timestamp::from_tar(Time::seconds(i64::MAX)), Err(NoForm::Time));
        assert_eq!(Timestamp::from_tar(Time::seconds(Timestamp::GO_ZERO)), Ok(None));
    }

    #[test]
    fn zones_and_zeros_compare_as_podman_compares_them() {
        let read = |text: &str| Some(serde_json::from_str::<Timestamp>(&format!("{text:?}")).unwrap());
        assert!(Timestamp::agree(read("2012-10-14T22:03:12+02:00"), read("2012-10-14T20:03:12Z")));
        assert!(Timestamp::agree(read("1970-01-01T00:00:00Z"), None));
        assert!(!Timestamp::agree(read("1970-01-01T00:00:01Z"), None));
    }
}
