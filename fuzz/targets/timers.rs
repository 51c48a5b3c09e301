#![no_main]

#[path = "../../crates/engine/tests/models/timers.rs"]
mod timers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| timers::play(data));
