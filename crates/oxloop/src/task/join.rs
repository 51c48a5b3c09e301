//! The handle of a task, and the ways to await it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::TaskRef;
use super::body::{Outcome, Stage};
use super::table;
use crate::error::{Error, Result};
use crate::event_loop::Origin;
use crate::host::Job;
use crate::hub::Hub;

/// A task that results in a `T`.
///
/// Dropping the handle lets the task go on by itself. Awaiting it comes in three kinds, which differ
/// in what happens to the task if whoever awaits it is cancelled (or drops the future):
///
/// | | |
/// | --- | --- |
/// | `task.await` | the task is cancelled, too, as in asyncio |
/// | `(&mut task).await` | the task goes on, and can be awaited again |
/// | [`shield`]`(task).await` | the task goes on |
///
/// ```
/// oxloop::run(async {
///     let mut task = oxloop::create_task(oxloop::yield_now());
///     task.set_name("patience");
///     (&mut task).await.unwrap();
///     assert!(task.is_done());
///
///     let task = oxloop::create_task(std::future::pending::<()>());
///     task.cancel();
///     assert!(task.await.unwrap_err().is_cancelled());
/// })?;
/// # Ok::<(), oxloop::Error>(())
/// ```
pub struct Task<T> {
    task: TaskRef,
    result: PhantomData<T>,
}

impl<T: 'static> Task<T> {
    #[track_caller]
    pub(crate) fn spawn<F>(hub: &Rc<Hub>, future: F) -> Result<Task<T>>
    where
        F: Future<Output = T> + 'static,
    {
        hub.check_open()?;
        let (body, origin) = (Stage::pinned(future), Origin::of::<F>());
        let added = hub.tasks.borrow_mut().insert(Some(body), origin, &hub.remote);
        let key = match added {
            Ok(key) => key,
            Err(body) => {
                drop(body);
                return Err(Error::OutOfMemory);
            }
        };
        let task = Task { task: TaskRef { hub: hub.clone(), key }, result: PhantomData };
        let queued = hub.engine().call_soon(Job::Task(key));
        queued.map_err(|_| Error::OutOfMemory)?;
        Ok(task)
    }

    fn poll_result(&self, cx: &Context<'_>) -> Poll<Outcome<T>> {
        table::poll_result(&self.task.hub, self.task.key, cx.waker())
    }

    /// The result, if there is one, which is gone then.
    pub fn take_result(&mut self) -> Option<Outcome<T>> {
        if !self.is_done() {
            return None;
        }
        match self.poll_result(&Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

impl<T> Task<T> {
    /// The task without the type of its result.
    pub fn task_ref(&self) -> &TaskRef {
        &self.task
    }
}

impl<T> Deref for Task<T> {
    type Target = TaskRef;

    fn deref(&self) -> &TaskRef {
        &self.task
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        table::detach(&self.task.hub, self.task.key);
    }
}

impl<T> Unpin for Task<T> {}

impl<T: 'static> IntoFuture for Task<T> {
    type Output = Outcome<T>;
    type IntoFuture = Join<T>;

    fn into_future(self) -> Join<T> {
        Join { task: self, over: false }
    }
}

impl<'a, T: 'static> IntoFuture for &'a mut Task<T> {
    type Output = Outcome<T>;
    type IntoFuture = Watching<'a, T>;

    fn into_future(self) -> Watching<'a, T> {
        Watching { task: self }
    }
}

/// Waits for a task, and takes it along when it is dropped before.
#[must_use = "futures do nothing unless polled"]
pub struct Join<T: 'static> {
    task: Task<T>,
    over: bool,
}

impl<T: 'static> Join<T> {
    /// The task.
    pub fn task(&self) -> &TaskRef {
        &self.task
    }
}

impl<T: 'static> Future for Join<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let polled = self.task.poll_result(cx);
        self.over = polled.is_ready();
        polled
    }
}

impl<T: 'static> Drop for Join<T> {
    fn drop(&mut self) {
        if !self.over {
            self.task.cancel();
        }
    }
}

/// Waits for a task without taking it along.
#[must_use = "futures do nothing unless polled"]
pub struct Watching<'a, T: 'static> {
    task: &'a mut Task<T>,
}

impl<T: 'static> Future for Watching<'_, T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        self.task.poll_result(cx)
    }
}

/// Waits for a task, which goes on by itself if whoever waits is cancelled.
///
/// ```
/// use std::time::Duration;
///
/// oxloop::run(async {
///     let task = oxloop::create_task(oxloop::sleep(Duration::from_millis(20)));
///     let watched = task.task_ref().clone();
///     let hurried = oxloop::timeout(Duration::from_millis(1), oxloop::shield(task)).await;
///     assert!(hurried.is_err());
///     assert!(!watched.is_done());
/// })?;
/// # Ok::<(), oxloop::Error>(())
/// ```
pub fn shield<T: 'static>(task: Task<T>) -> Shield<T> {
    Shield { task }
}

/// What [`shield`] returns.
#[must_use = "futures do nothing unless polled"]
pub struct Shield<T: 'static> {
    task: Task<T>,
}

impl<T: 'static> Future for Shield<T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        self.task.poll_result(cx)
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}

impl<T: 'static> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Join").field(&self.task).finish()
    }
}

impl<T: 'static> fmt::Debug for Watching<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watching").field(&self.task).finish()
    }
}

impl<T: 'static> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shield").field(&self.task).finish()
    }
}
