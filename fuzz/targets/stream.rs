#![no_main]

#[path = "../../crates/engine/tests/models/stream.rs"]
mod stream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| stream::play(data));
