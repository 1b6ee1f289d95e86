//! The frames that are looked for, in a table that nearly every fingerprint of an index misses at once.

use super::FrameKey;

/// Frames that are looked for in one index after the other.
///
/// An index is read from its beginning to its end, so what counts is how fast a fingerprint that nobody wants is passed over. The table
/// has a slot for each value of the fingerprint's first bits, eight times as many slots as frames, in the order in which the
/// fingerprints come: most slots are empty, and the processor walks through them in order.
pub struct Wanted<'a> {
    /// Fingerprint and the caller's number, sorted.
    entries: Vec<(u64, u32)>,
    found: Vec<bool>,
    missing: usize,
    /// For each slot, where its entries begin; one more than there are slots.
    starts: Vec<u32>,
    shift: u32,
    key_of: &'a dyn Fn(usize) -> FrameKey,
}

impl<'a> Wanted<'a> {
    /// Looks for the frames with these numbers; `key_of` tells what each is. At most 2^32 of them.
    pub fn new(numbers: impl IntoIterator<Item = usize>, key_of: &'a dyn Fn(usize) -> FrameKey) -> Self {
        let entry = |number: usize| Some((key_of(number).fingerprint(), u32::try_from(number).ok()?));
        let mut entries: Vec<_> = numbers.into_iter().filter_map(entry).collect();
        entries.sort_unstable();
        let bits = (entries.len().max(1) * 8).next_power_of_two().ilog2().min(28);
        let shift = u64::BITS - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for (fingerprint, _) in &entries {
            starts[slot(*fingerprint, shift) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { found: vec![false; entries.len()], missing: entries.len(), entries, starts, shift, key_of }
    }

    /// How many are not found yet.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Shows a fingerprint that an index has. `is_it` is asked about each frame that could be it.
    pub(super) fn offer(
        &mut self,
        fingerprint: u64,
        mut is_it: impl FnMut(&FrameKey, usize) -> Result<bool, &'static str>,
    ) -> Result<(), &'static str> {
        let slot = slot(fingerprint, self.shift);
        let (start, end) = (self.starts[slot], self.starts[slot + 1]);
        if start == end {
            return Ok(());
        }
        for at in index(start)..index(end) {
            let (wanted, number) = self.entries[at];
            if wanted != fingerprint || self.found[at] {
                continue;
            }
            if is_it(&(self.key_of)(index(number)), index(number))? {
                self.found[at] = true;
                self.missing -= 1;
            }
        }
        Ok(())
    }
}

fn slot(fingerprint: u64, shift: u32) -> usize {
    usize::try_from(fingerprint >> shift).expect("at most 28 bits")
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits are an index")
}
