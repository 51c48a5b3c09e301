//! An answer that is to come: set once by the connection, taken once by who awaits.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use pyo3::prelude::*;

/// Both ends of it.
#[derive(Clone, Default)]
pub(super) struct Reply(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    value: Option<PyResult<Py<PyAny>>>,
    waker: Option<Waker>,
}

impl Reply {
    pub(super) fn set(&self, value: PyResult<Py<PyAny>>) {
        let waker = {
            let mut state = self.lock();
            state.value = Some(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) async fn get(self) -> PyResult<Py<PyAny>> {
        poll_fn(|cx| {
            let mut state = self.lock();
            match state.value.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
