//! Says in one sentence on which systems this cannot be built, instead of in a stack of errors.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system != "linux" {
        println!(
            "cargo::error=oxloop runs on Linux only (epoll, eventfd), not on {system}: \
             use asyncio's own event loop there, for instance by making oxloop a dependency \
             with the marker `; sys_platform == \"linux\"`."
        );
    }
}
