//! Rust futures that Python awaits: on the loop itself, and on tokio in another thread.

use std::future::poll_fn;
use std::task::Poll;

use oxloop_extension::RunningLoop;
use pyo3::prelude::*;

type Awaitable<'py> = PyResult<Bound<'py, PyAny>>;

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[pymodule]
mod bench_extension {
    use super::*;

    /// On the loop, from the next turn on.
    #[pyfunction]
    fn spawn(py: Python<'_>, waits: bool) -> Awaitable<'_> {
        RunningLoop::current(py)?.spawn(async move {
            if waits {
                yield_now().await;
            }
            Ok(1)
        })
    }

    /// On the loop, inside of the await.
    #[pyfunction]
    fn defer(py: Python<'_>, waits: bool) -> Awaitable<'_> {
        RunningLoop::current(py)?.defer(async move {
            if waits {
                yield_now().await;
            }
            Ok(1)
        })
    }

    /// On tokio, whose workers are other threads.
    #[pyfunction]
    fn bridge(py: Python<'_>, waits: bool) -> Awaitable<'_> {
        pyo3_async_runtimes::tokio::future_into_py(py, async move {
            if waits {
                yield_now().await;
            }
            Ok(1)
        })
    }

    /// Tokio has so many workers, if this comes first.
    #[pyfunction]
    fn workers(count: usize) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(count).enable_all();
        pyo3_async_runtimes::tokio::init(builder);
    }
}
