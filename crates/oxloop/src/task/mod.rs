//! Tasks: futures that the loop runs beside everything else.
//!
//! A future and its result lie in the loop's [`Tasks`] table; handles and wakers know its key. A
//! step takes the future out of the table, so nothing is borrowed while it runs.

mod body;
mod join;
mod table;
mod waker;

use std::fmt;
use std::rc::Rc;

use oxloop_engine::Key;

use crate::event_loop::{Loop, Origin};
use crate::hub::Hub;

pub use join::{Join, Shield, Task, Watching, shield};

pub(crate) use table::{Tasks, all_tasks_of, current_by_waker, step};

/// A task, whatever it results in. Keeping one keeps nothing of the task alive.
#[derive(Clone)]
pub struct TaskRef {
    hub: Rc<Hub>,
    key: Key,
}

impl TaskRef {
    /// Asks the task to end: at its next step, its future is dropped instead of polled, at the
    /// point where it waits. False if it is done.
    pub fn cancel(&self) -> bool {
        let cancelled = self.hub.tasks.borrow_mut().cancel(self.key);
        if let Some(waker) = &cancelled {
            waker.wake_by_ref();
        }
        cancelled.is_some()
    }

    /// Whether it has ended, one way or the other.
    pub fn is_done(&self) -> bool {
        self.hub.tasks.borrow().is_done(self.key)
    }

    /// Whether it was cancelled or has panicked, and nobody has taken that result.
    pub fn has_failed(&self) -> bool {
        self.hub.tasks.borrow().has_failed(self.key)
    }

    /// Its name: what was set, or `Task-` and a number.
    pub fn name(&self) -> String {
        self.hub.tasks.borrow().name(self.key)
    }

    /// Gives it a name, for messages.
    pub fn set_name(&self, name: &str) {
        let before = self.hub.tasks.borrow_mut().set_name(self.key, name.into());
        drop(before);
    }

    /// Calls `callback` in the turn after the task has ended; soon, if it has already.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    #[track_caller]
    pub fn add_done_callback<F>(&self, callback: F) -> crate::Result<()>
    where
        F: FnOnce(&TaskRef) + 'static,
    {
        self.hub.check_open()?;
        let (task, origin) = (self.clone(), Origin::of::<F>());
        let callback: Box<dyn FnOnce()> = Box::new(move || callback(&task));
        table::on_done(&self.hub, self.key, table::OnDone::Call(callback, origin));
        Ok(())
    }

    /// Whether this is the task whose step is running.
    pub fn is_current(&self) -> bool {
        self.hub.current.get() == Some(self.key)
    }

    /// The loop that runs it.
    pub fn get_loop(&self) -> Loop {
        self.hub.handle()
    }

    /// Calls `callback` as soon as the task has ended, which must be code of ours.
    pub(crate) fn notify(&self, callback: impl FnOnce() + 'static) {
        table::on_done(&self.hub, self.key, table::OnDone::Tell(Box::new(callback)));
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &TaskRef) -> bool {
        self.key == other.key && Rc::ptr_eq(&self.hub, &other.hub)
    }
}

impl Eq for TaskRef {}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name()).field("done", &self.is_done()).finish()
    }
}

/// The task that is running in this thread.
///
/// ```
/// let name = oxloop::run(async {
///     let task = oxloop::current_task().unwrap();
///     task.set_name("main");
///     task.name()
/// })?;
/// assert_eq!(name, "main");
/// # Ok::<(), oxloop::Error>(())
/// ```
pub fn current_task() -> Option<TaskRef> {
    let hub = Hub::running()?;
    let key = hub.current.get()?;
    Some(TaskRef { hub, key })
}

/// The tasks of the running loop that are not done.
pub fn all_tasks() -> Vec<TaskRef> {
    Hub::running().map_or_else(Vec::new, |hub| all_tasks_of(&hub))
}

/// Runs a future beside everything else on the running loop; see [`Loop::create_task`].
///
/// # Panics
/// If no loop is running in this thread, or there is no memory.
#[track_caller]
pub fn create_task<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let hub = running_hub();
    match Task::spawn(&hub, future) {
        Ok(task) => task,
        Err(error) => misuse(&error.to_string()),
    }
}

/// The inside of the running loop.
#[track_caller]
pub(crate) fn running_hub() -> Rc<Hub> {
    match Hub::running() {
        Some(hub) => hub,
        None => misuse("no running event loop in this thread"),
    }
}

/// A mistake of the programmer's, who has no other way to learn of it.
#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "documented at the functions that may be misused")]
pub(crate) fn misuse(message: &str) -> ! {
    panic!("{message}")
}
