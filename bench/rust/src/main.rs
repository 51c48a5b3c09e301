//! One scenario on one runtime: `oxloop-bench RUNTIME SCENARIO` prints the nanoseconds of processor
//! time per operation, `oxloop-bench echo SERVER CONNECTIONS SIZE` the microseconds of the server.

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
        ["echo", runtime, connections, size] => {
            let (connections, size) = (connections.parse().unwrap(), size.parse().unwrap());
            println!("{:.2}", echo::measure(runtime, connections, size));
        }
        ["serve", runtime] => echo::serve(runtime),
        _ => eprintln!("oxloop-bench RUNTIME SCENARIO"),
    }
}
