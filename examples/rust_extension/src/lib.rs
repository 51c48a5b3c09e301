//! `rust_extension`: an HTTP/1.1 server and a Redis client whose protocols are in Rust, on the event
//! loop that runs the program's Python. An example of what `oxloop-extension` is for.

mod http;
mod redis;

use pyo3::prelude::*;

#[pymodule(name = "rust_extension")]
mod module {
    #[pymodule_export]
    use crate::http::{Request, Router};
    #[pymodule_export]
    use crate::redis::{Client, RedisError, connect};
}
