#![no_main]

#[path = "../../crates/engine/tests/models/pump.rs"]
mod pump;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pump::play(data));
