#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chunkify::fuzzing::check("zstd", data));
