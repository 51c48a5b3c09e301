//! One scenario on one runtime: `oxloop-bench RUNTIME SCENARIO` prints the nanoseconds of processor
//! time per operation, `oxloop-bench echo CONNECTIONS SIZE ROUNDS` the microseconds of each server, a
//! line for each round.

use rustix::time::{ClockId, clock_gettime};

mod echo;
mod local;

/// Processor time of this process, in nanoseconds.
pub fn cpu() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [runtime @ ("oxloop" | "tokio"), scenario] => {
            println!("{:.1}", local::measure(runtime, scenario));
        }
        ["echo", connections, size, rounds] => {
            let [connections, size, rounds] =
                [connections, size, rounds].map(|number| number.parse().unwrap());
            for [protocol, stream, tokio] in echo::measure(connections, size, rounds) {
                println!("{protocol:.2} {stream:.2} {tokio:.2}");
            }
        }
        ["serve", runtime] => echo::serve(runtime),
        _ => eprintln!("oxloop-bench RUNTIME SCENARIO"),
    }
}
