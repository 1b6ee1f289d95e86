//! SHA-256 of two messages at once in one processor.
//!
//! The processor's instruction for two rounds takes four cycles, and another could begin every two: a single message, whose rounds
//! wait for each other, leaves it idle for half of the time. Two messages that know nothing of each other fill that half.

#[cfg(target_arch = "x86_64")]
mod x86;

use sha2::block_api::compress256;

/// What a message has come to, after whole blocks.
pub type State = [u32; 8];
/// What the function takes in at once.
pub type Block = [u8; 64];

/// Before the first block.
pub const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Takes in blocks of one message.
pub fn one(state: &mut State, blocks: &[Block]) {
    compress256(state, blocks);
}

/// Takes in blocks of two messages, as many of one as of the other at the same time and the rest alone.
pub fn two(first: (&mut State, &[Block]), second: (&mut State, &[Block])) {
    let common = first.1.len().min(second.1.len());
    let (first_common, first_rest) = first.1.split_at(common);
    let (second_common, second_rest) = second.1.split_at(common);
    together((&mut *first.0, first_common), (&mut *second.0, second_common));
    one(first.0, first_rest);
    one(second.0, second_rest);
}

fn together(first: (&mut State, &[Block]), second: (&mut State, &[Block])) {
    #[cfg(target_arch = "x86_64")]
    if x86::two(&mut *first.0, first.1, &mut *second.0, second.1) {
        return;
    }
    one(first.0, first.1);
    one(second.0, second.1);
}
