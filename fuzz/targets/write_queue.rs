#![no_main]

#[path = "../../crates/engine/tests/models/write_queue.rs"]
mod write_queue;

libfuzzer_sys::fuzz_target!(|data: &[u8]| write_queue::play(data));
