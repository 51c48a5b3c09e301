//! Several tasks at once: `gather`, `wait`, `as_completed`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::TaskError;
use crate::task::{Task, create_task};
use crate::time::sleep;

/// A task, or a future that becomes one on the running loop; asyncio's `ensure_future`.
pub trait IntoTask {
    /// What it results in.
    type Output: 'static;

    /// Makes the task.
    ///
    /// # Panics
    /// As [`create_task`].
    fn into_task(self) -> Task<Self::Output>;
}

impl<T: 'static> IntoTask for Task<T> {
    type Output = T;

    fn into_task(self) -> Task<T> {
        self
    }
}

impl<F> IntoTask for F
where
    F: Future + 'static,
    F::Output: 'static,
{
    type Output = F::Output;

    #[track_caller]
    fn into_task(self) -> Task<F::Output> {
        create_task(self)
    }
}

/// Tasks of which one wants to know which are done, in the order in which they end.
struct Watched<T> {
    tasks: Vec<Option<Task<T>>>,
    notes: Rc<RefCell<Notes>>,
}

#[derive(Default)]
struct Notes {
    done: VecDeque<usize>,
    waker: Option<Waker>,
}

impl<T: 'static> Watched<T> {
    fn new(tasks: impl IntoIterator<Item = impl IntoTask<Output = T>>) -> Watched<T> {
        let notes = Rc::<RefCell<Notes>>::default();
        let tasks: Vec<_> = tasks.into_iter().map(|task| Some(task.into_task())).collect();
        for (index, task) in tasks.iter().flatten().enumerate() {
            let notes = notes.clone();
            task.notify(move || {
                let mut notes = notes.borrow_mut();
                notes.done.push_back(index);
                let waker = notes.waker.take();
                drop(notes);
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
        }
        Watched { tasks, notes }
    }

    /// The number of the next task that has ended.
    fn poll_next(&self, cx: &Context<'_>) -> Poll<usize> {
        let waker = cx.waker().clone();
        let mut notes = self.notes.borrow_mut();
        let next = notes.done.pop_front();
        let before = if next.is_none() { notes.waker.replace(waker) } else { None };
        drop(notes);
        drop(before);
        next.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Awaits all of `tasks`; their results are in the same order. A future becomes a task, so one that
/// fails does not stop the others. If this is dropped before, all are cancelled.
///
/// # Panics
/// As [`create_task`].
///
/// ```
/// let squares = oxloop::run(oxloop::gather((1..4).map(|n| async move { n * n })))?;
/// let squares: Result<Vec<i32>, _> = squares.into_iter().collect();
/// assert_eq!(squares.unwrap(), [1, 4, 9]);
/// # Ok::<(), oxloop::Error>(())
/// ```
pub async fn gather<I>(tasks: I) -> Vec<Result<<I::Item as IntoTask>::Output, TaskError>>
where
    I: IntoIterator,
    I::Item: IntoTask,
{
    Gather::new(Watched::new(tasks)).await
}

struct Gather<T: 'static> {
    watched: Watched<T>,
    left: usize,
}

impl<T: 'static> Gather<T> {
    fn new(watched: Watched<T>) -> Gather<T> {
        Gather { left: watched.tasks.len(), watched }
    }
}

impl<T: 'static> Unpin for Gather<T> {}

impl<T: 'static> Future for Gather<T> {
    type Output = Vec<Result<T, TaskError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while self.left > 0 {
            match self.watched.poll_next(cx) {
                Poll::Ready(_) => self.left -= 1,
                Poll::Pending => return Poll::Pending,
            }
        }
        let tasks = std::mem::take(&mut self.watched.tasks);
        Poll::Ready(tasks.into_iter().flatten().map(result_of).collect())
    }
}

impl<T: 'static> Drop for Gather<T> {
    fn drop(&mut self) {
        for task in self.watched.tasks.iter().flatten() {
            task.cancel();
        }
    }
}

fn result_of<T: 'static>(mut task: Task<T>) -> Result<T, TaskError> {
    task.take_result().unwrap_or(Err(TaskError::Cancelled))
}

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// The end of any task.
    FirstCompleted,
    /// A task that was cancelled or panicked; or the end of all.
    FirstException,
    /// The end of all tasks.
    AllCompleted,
}

/// Waits for some of `tasks`, and for `delay` at most; returns those that are done and those that are
/// not, which go on. Nothing is cancelled, neither by the delay nor by dropping this.
///
/// # Panics
/// As [`create_task`].
///
/// ```
/// use std::time::Duration;
/// use oxloop::{ReturnWhen, sleep, wait};
///
/// oxloop::run(async {
///     let naps = [1, 10_000].map(|millis| sleep(Duration::from_millis(millis)));
///     let (done, pending) = wait(naps, ReturnWhen::FirstCompleted, None).await;
///     assert_eq!((done.len(), pending.len()), (1, 1));
/// })?;
/// # Ok::<(), oxloop::Error>(())
/// ```
pub async fn wait<I, T>(
    tasks: I,
    return_when: ReturnWhen,
    delay: Option<Duration>,
) -> (Vec<Task<T>>, Vec<Task<T>>)
where
    I: IntoIterator,
    I::Item: IntoTask<Output = T>,
    T: 'static,
{
    let mut watched = Watched::new(tasks);
    let mut alarm = std::pin::pin!(delay.map(sleep));
    let mut left = watched.tasks.len();
    while left > 0 {
        let next = poll_fn(|cx| {
            if let Poll::Ready(index) = watched.poll_next(cx) {
                return Poll::Ready(Some(index));
            }
            match alarm.as_mut().as_pin_mut() {
                Some(alarm) => alarm.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        });
        let Some(index) = next.await else { break };
        left -= 1;
        let ended = watched.tasks.get(index).and_then(Option::as_ref);
        let enough = match return_when {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstException => ended.is_some_and(|task| task.has_failed()),
            ReturnWhen::AllCompleted => false,
        };
        if enough {
            break;
        }
    }
    let tasks = std::mem::take(&mut watched.tasks);
    tasks.into_iter().flatten().partition(|task| task.is_done())
}

/// The results of `tasks` in the order in which they end.
///
/// # Panics
/// As [`create_task`].
///
/// ```
/// use std::time::Duration;
///
/// let order = oxloop::run(async {
///     let naps = [20, 1].map(|millis| async move {
///         oxloop::sleep(Duration::from_millis(millis)).await;
///         millis
///     });
///     let mut ended = oxloop::as_completed(naps);
///     let mut order = Vec::new();
///     while let Some(result) = ended.next().await {
///         order.push(result.unwrap());
///     }
///     order
/// })?;
/// assert_eq!(order, [1, 20]);
/// # Ok::<(), oxloop::Error>(())
/// ```
pub fn as_completed<I, T>(tasks: I) -> AsCompleted<T>
where
    I: IntoIterator,
    I::Item: IntoTask<Output = T>,
    T: 'static,
{
    let watched = Watched::new(tasks);
    AsCompleted { left: watched.tasks.len(), watched }
}

/// What [`as_completed`] returns. Dropping it lets the tasks go on.
pub struct AsCompleted<T: 'static> {
    watched: Watched<T>,
    left: usize,
}

impl<T: 'static> AsCompleted<T> {
    /// The result of the next task that ends; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<T, TaskError>> {
        if self.left == 0 {
            return None;
        }
        let index = poll_fn(|cx| self.watched.poll_next(cx)).await;
        self.left -= 1;
        self.watched.tasks.get_mut(index).and_then(Option::take).map(result_of)
    }
}

impl<T: 'static> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}
