//! Two lanes with the SHA instructions of x86, which compute on two halves of a state: (a, b, e, f) and (c, d, g, h).

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_sha256msg1_epu32,
    _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::{Block, State};

/// The constants of the 64 rounds, four by four (FIPS 180-4, section 4.2.2).
const ROUNDS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// Takes as many blocks into both states as both have; `false`, and nothing is done, where the processor lacks the instructions.
pub fn two(first: &mut State, first_blocks: &[Block], second: &mut State, second_blocks: &[Block]) -> bool {
    let able =
        is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3");
    if able {
        #[expect(unsafe_code, reason = "the only way to instructions that not every processor of the target has")]
        // SAFETY: all that the function asks for is that the processor has the features it names, which was looked up just now.
        unsafe {
            blocks(first, first_blocks, second, second_blocks);
        }
    }
    able
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn blocks(first: &mut State, first_blocks: &[Block], second: &mut State, second_blocks: &[Block]) {
    let (mut one, mut other) = (Lane::load(first), Lane::load(second));
    for (block, other_block) in first_blocks.iter().zip(second_blocks) {
        let (before, other_before) = (one, other);
        let (mut words, mut other_words) = (words(block), words(other_block));
        for (at, round) in ROUNDS.iter().enumerate() {
            if at >= 4 {
                words = further(words);
                other_words = further(other_words);
            }
            let now = at.min(3);
            one.rounds(words[now], round);
            other.rounds(other_words[now], round);
        }
        one.add(before);
        other.add(other_before);
    }
    one.store(first);
    other.store(second);
}

/// The sixteen words of a block, most significant byte first.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn words(block: &Block) -> [__m128i; 4] {
    let (halves, _) = block.as_chunks::<8>();
    let half = |at: usize| i64::from_le_bytes(halves[at]);
    let turned = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let four = |at: usize| _mm_shuffle_epi8(_mm_set_epi64x(half(2 * at + 1), half(2 * at)), turned);
    [four(0), four(1), four(2), four(3)]
}

/// The last sixteen words of the schedule, four further on.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn further([first, second, third, fourth]: [__m128i; 4]) -> [__m128i; 4] {
    let begun = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8(fourth, third, 4));
    [second, third, fourth, _mm_sha256msg2_epu32(begun, fourth)]
}

#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

impl Lane {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load(state: &State) -> Self {
        let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn store(self, state: &mut State) {
        let Self { abef, cdgh } = self;
        *state = [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ]
        .map(i32::cast_unsigned);
    }

    /// Four rounds.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn rounds(&mut self, words: __m128i, constants: &[u32; 4]) {
        let [first, second, third, fourth] = constants.map(u32::cast_signed);
        let sums = _mm_add_epi32(words, _mm_set_epi32(fourth, third, second, first));
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sums);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0e>(sums));
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn add(&mut self, before: Self) {
        self.abef = _mm_add_epi32(self.abef, before.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
    }
}
