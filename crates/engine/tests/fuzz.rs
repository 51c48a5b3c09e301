//! What fuzzers play, played by `cargo test`: random bytes, and the corpus, which has what the
//! fuzzers found worth keeping. `make fuzz` looks for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod models {
    pub(crate) mod pump;
    pub(crate) mod stream;
    pub(crate) mod timers;
    pub(crate) mod write_queue;
}

use std::path::Path;

use models::{pump, stream, timers, write_queue};
use proptest::prelude::*;

/// Plays every file of the corpus of that name.
fn replay(name: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // The last line before a failure says which it was.
        println!("{}", path.display());
        play(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn the_corpus_of_streams() {
    replay("stream", stream::play);
}

#[test]
fn the_corpus_of_the_pump() {
    replay("pump", pump::play);
}

#[test]
fn the_corpus_of_timers() {
    replay("timers", timers::play);
}

#[test]
fn the_corpus_of_write_queues() {
    replay("write_queue", write_queue::play);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_life_of_a_stream(bytes in bytes()) {
        stream::play(&bytes);
    }

    #[test]
    fn any_life_of_a_pump(bytes in bytes()) {
        pump::play(&bytes);
    }
}
