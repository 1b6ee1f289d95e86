//! What shapes a blob: the same settings and the same tar give the same bytes.

use std::fmt;
use std::str::FromStr;

use crate::cut::Policy;
use crate::zstd::codec::{self, Tables};

/// Everything that shapes a blob beside the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The zstd level of data frames, [`codec::LEVELS`].
    pub level: i32,
    /// The tables that zstd works with in data frames.
    pub tables: Tables,
    /// How table of contents and tar-split are compressed.
    pub metadata: Levels,
    /// Where payloads are cut.
    pub cut: Policy,
    /// About so many bytes of the blob lie between two frames that are put on block boundaries, so that file systems can share the blocks
    /// of two versions; none are when there is no such distance.
    pub align: Option<u64>,
}

/// zstd levels by the length of what is compressed, see [`codec::LEVELS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// For what has at least `short_below` bytes.
    pub long: i32,
    /// For what is shorter.
    pub short: i32,
    /// In bytes, uncompressed.
    pub short_below: u64,
}

impl Levels {
    /// The level for `len` bytes.
    pub const fn of(&self, len: u64) -> i32 {
        if len < self.short_below { self.short } else { self.long }
    }
}

impl Settings {
    /// The default level: where a further one costs more time than it saves bytes (`spec-notes/measurements.md`).
    pub const LEVEL: i32 = 6;

    /// Frames at one zstd level, and what goes with it.
    pub const fn at(level: i32) -> Self {
        // Every pull fetches the metadata. While it is small, compressing it well costs nothing; a large one must keep up with the data,
        // and whoever asks for speed gets it there too. Below 3 nothing is gained any more.
        let long = match level {
            ..3 => 3,
            6..=9 => 9,
            _ => level,
        };
        let tables = if level == 3 { Tables::Cached } else { Tables::Zstd };
        Self {
            level,
            tables,
            metadata: Levels { long, short: 19, short_below: 128 << 10 },
            cut: Policy::SCALED,
            align: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::at(Self::LEVEL)
    }
}

/// Settings by what they spare; `spec-notes/measurements.md` has what each comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Time: level 3.
    Fast,
    /// The bytes of updates, in a time that nobody minds: level 6, chunks that grow with the file.
    #[default]
    Balanced,
    /// The bytes of blobs, for images that are mostly pulled as a whole: level 15, and chunks of 1 MiB.
    Small,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Balanced, Self::Small];

    /// The word on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Small => "small",
        }
    }

    /// The zstd level of data frames.
    pub const fn level(self) -> i32 {
        match self {
            Self::Fast => 3,
            Self::Balanced => Settings::LEVEL,
            Self::Small => 15,
        }
    }

    /// Where payloads are cut.
    pub const fn cut(self) -> Policy {
        match self {
            Self::Fast | Self::Balanced => Policy::SCALED,
            Self::Small => Policy::LARGE,
        }
    }

    /// Everything.
    pub const fn settings(self) -> Settings {
        Settings { cut: self.cut(), ..Settings::at(self.level()) }
    }
}

impl FromStr for Profile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|profile| profile.label() == text).ok_or("fast, balanced or small")
    }
}

/// What made a blob, as it is written beside it: whoever has the same chunkify, the same zstd and these settings can make the same frames
/// from the same files again.
///
/// Its text is words of the form `name=value`, in the order `chunkify zstd level tables metadata cut align`; `tables` and `align` only where
/// they say something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Version of chunkify.
    pub chunkify: String,
    /// Version of the zstd library.
    pub zstd: String,
    /// What shaped the blob.
    pub settings: Settings,
}

impl Recipe {
    /// What this program makes of `settings`.
    pub fn of(settings: &Settings) -> Self {
        let (chunkify, zstd) = (env!("CARGO_PKG_VERSION").into(), codec::library_version().into());
        Self { chunkify, zstd, settings: *settings }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { level, tables, metadata, cut, align } = &self.settings;
        write!(f, "chunkify={} zstd={} level={level} ", self.chunkify, self.zstd)?;
        // Words for what is not done are left out.
        if *tables == Tables::Cached {
            f.write_str("tables=cached ")?;
        }
        write!(f, "metadata={metadata} cut={cut}")?;
        align.map_or(Ok(()), |spacing| write!(f, " align={spacing}"))
    }
}

impl fmt::Display for Levels {
    /// `6<1048576:3`: level 6 below that many bytes, level 3 from there on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}<{}:{}", self.short, self.short_below, self.long)
    }
}

/// A text that is no recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the words of an encoder's recipe")]
pub struct RecipeError;

impl FromStr for Levels {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let (short, rest) = text.split_once('<').ok_or(RecipeError)?;
        let (short_below, long) = rest.split_once(':').ok_or(RecipeError)?;
        let level = |text: &str| text.parse().map_err(|_| RecipeError);
        Ok(Self {
            long: level(long)?,
            short: level(short)?,
            short_below: short_below.parse().map_err(|_| RecipeError)?,
        })
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let mut words = text.split(' ').peekable();
        let chunkify = value(words.next(), "chunkify")?.into();
        let zstd = value(words.next(), "zstd")?.into();
        let level = value(words.next(), "level")?.parse().map_err(|_| RecipeError)?;
        let tables = match words.next_if(|word| word.starts_with("tables=")) {
            None => Tables::Zstd,
            Some("tables=cached") => Tables::Cached,
            Some(_) => return Err(RecipeError),
        };
        let metadata = value(words.next(), "metadata")?.parse()?;
        let cut = value(words.next(), "cut")?.parse().map_err(|_| RecipeError)?;
        let align = match words.next() {
            None => None,
            word => Some(value(word, "align")?.parse().map_err(|_| RecipeError)?),
        };
        if words.next().is_some() {
            return Err(RecipeError);
        }
        Ok(Self { chunkify, zstd, settings: Settings { level, tables, metadata, cut, align } })
    }
}

/// What stands behind `name=`.
fn value<'a>(word: Option<&'a str>, name: &str) -> Result<&'a str, RecipeError> {
    let (found, value) = word.and_then(|word| word.split_once('=')).ok_or(RecipeError)?;
    if found == name { Ok(value) } else { Err(RecipeError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_read_as_they_are_written() {
        let fixed = Settings { cut: Policy::with_average(65536).unwrap(), align: Some(1), ..Settings::at(-5) };
        let profiles = Profile::ALL.map(Profile::settings);
        assert_eq!(profiles[1], Settings::default());
        for settings in [Settings::at(19), fixed].into_iter().chain(profiles) {
            let recipe = Recipe::of(&settings);
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
        let text = Recipe::of(&Settings::default()).to_string();
        assert!(text.ends_with("level=6 metadata=19<131072:9 cut=scaled:65536:262144:32768:1048576:4096"), "{text}");
        let fast = Recipe::of(&Settings::at(3)).to_string();
        assert!(fast.contains("level=3 tables=cached metadata=19<131072:3 "), "{fast}");
        for bad in [
            "",
            "chunkify=1",
            &text[..text.len() - 6],
            &format!("{text} more=1"),
            &text.replace("level", "data"),
            &fast.replace("cached", "other"),
        ] {
            assert_eq!(bad.parse::<Recipe>(), Err(RecipeError), "{bad}");
        }
    }
}
