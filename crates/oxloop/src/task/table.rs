//! The tasks of a loop, and their steps.
//!
//! Invariant: an entry is there until its task has ended and its handle is gone. What is taken out
//! of the table is dropped by functions that do not borrow it.

use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use oxloop_engine::{Key, Slots};

use super::TaskRef;
use super::body::{Body, Outcome};
use super::waker::{TaskWaker, is_of_step};
use crate::error::{Error, Result, TaskError};
use crate::event_loop::{self, Origin, guard, poll_guarded, report_panic};
use crate::host::Job;
use crate::hub::Hub;
use crate::remote::Remote;

/// Wakers that are kept for new tasks.
const SPARE: usize = 1024;

#[derive(Default)]
pub(crate) struct Tasks {
    entries: Slots<Entry>,
    /// Of tasks that have ended; nobody else has their wakers.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Stepper>>,
    made: u64,
}

pub(super) struct Entry {
    /// Away during a step, and after the last.
    stepper: Option<Box<Stepper>>,
    /// With the result of a task that has ended.
    body: Option<Pin<Box<dyn Body>>>,
    state: State,
    cancelled: bool,
    /// Nobody will ask for the result.
    detached: bool,
    /// Who awaits the handle.
    joiner: Option<Waker>,
    on_done: Vec<OnDone>,
    name: Option<Rc<str>>,
    number: u64,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    Done,
}

/// What a step needs, in one piece that moves in and out of the table.
struct Stepper {
    /// The main task, whose future is on the stack of who runs it, has none.
    body: Option<Pin<Box<dyn Body>>>,
    /// The waker twice: for us, and for the future.
    ours: Arc<TaskWaker>,
    theirs: Waker,
}

/// What happens when a task has ended.
pub(super) enum OnDone {
    /// A callback of the program, for the next turn.
    Call(Box<dyn FnOnce()>, Origin),
    /// A note of ours, at once.
    Tell(Box<dyn FnOnce()>),
}

/// What a step begins with.
enum Begun {
    /// There is no such task, or it has ended.
    Nothing,
    /// Its future is not here: the main task's.
    Elsewhere,
    Step {
        stepper: Box<Stepper>,
        cancelled: bool,
    },
}

impl Tasks {
    /// Adds a task, whose first step is yet to be queued.
    pub(super) fn insert(
        &mut self,
        body: Option<Pin<Box<dyn Body>>>,
        origin: Origin,
        remote: &Remote,
    ) -> std::result::Result<Key, Option<Pin<Box<dyn Body>>>> {
        self.made += 1;
        let entry = Entry {
            stepper: None,
            body,
            state: State::Alive,
            cancelled: false,
            detached: false,
            joiner: None,
            on_done: Vec::new(),
            name: None,
            number: self.made,
            origin,
        };
        let key = self.entries.insert(entry).map_err(|entry| entry.body)?;
        let mut stepper = self.stepper(key, remote);
        if let Some(entry) = self.entries.get_mut(key) {
            stepper.body = entry.body.take();
            entry.stepper = Some(stepper);
        }
        Ok(key)
    }

    /// With a waker that says that a step is queued.
    fn stepper(&mut self, key: Key, remote: &Remote) -> Box<Stepper> {
        if let Some(spare) = self.spare.pop() {
            spare.ours.rename(key);
            return spare;
        }
        let ours = Arc::new(TaskWaker::new(key, remote.clone()));
        let theirs = Waker::from(ours.clone());
        Box::new(Stepper { body: None, ours, theirs })
    }

    fn recycle(&mut self, stepper: Box<Stepper>) {
        if self.spare.len() < SPARE && stepper.body.is_none() && stepper.ours.is_alone() {
            self.spare.push(stepper);
        }
    }

    #[inline]
    fn begin(&mut self, key: Key) -> Begun {
        let Some(entry) = self.entries.get_mut(key) else { return Begun::Nothing };
        let Some(stepper) = entry.stepper.take() else { return Begun::Nothing };
        if stepper.body.is_none() {
            entry.stepper = Some(stepper);
            return Begun::Elsewhere;
        }
        Begun::Step { stepper, cancelled: entry.cancelled }
    }

    /// A step is over, the task is not.
    #[inline]
    fn put_back(&mut self, key: Key, stepper: Box<Stepper>) {
        if let Some(entry) = self.entries.get_mut(key) {
            // A cancellation from within queues another step.
            if entry.cancelled {
                stepper.theirs.wake_by_ref();
            }
            entry.stepper = Some(stepper);
        }
    }

    /// The task has ended. What is to be done about it, and to be dropped, without the table.
    fn finish(&mut self, key: Key, stepper: Option<Box<Stepper>>) -> Ending {
        let body = stepper.and_then(|mut stepper| {
            let body = stepper.body.take();
            self.recycle(stepper);
            body
        });
        let Some(entry) = self.entries.get_mut(key) else {
            return Ending { body, ..Ending::default() };
        };
        entry.state = State::Done;
        let (joiner, on_done) = (entry.joiner.take(), std::mem::take(&mut entry.on_done));
        if !entry.detached {
            entry.body = body;
            return Ending { joiner, on_done, ..Ending::default() };
        }
        let entry = self.entries.remove(key);
        let subject = entry.as_ref().map_or_else(String::new, Entry::describe);
        Ending { body, joiner, on_done, subject }
    }

    /// Notes that the task is to end; what wakes it. `None` if it has ended.
    pub(super) fn cancel(&mut self, key: Key) -> Option<Waker> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.state != State::Done)?;
        entry.cancelled = true;
        Some(match &entry.stepper {
            Some(stepper) => stepper.theirs.clone(),
            // It is running: its step finds the note at its end.
            None => Waker::noop().clone(),
        })
    }

    pub(super) fn is_done(&self, key: Key) -> bool {
        self.entries.get(key).is_none_or(|entry| entry.state == State::Done)
    }

    pub(super) fn has_failed(&self, key: Key) -> bool {
        let body = self.entries.get(key).and_then(|entry| entry.body.as_ref());
        body.is_some_and(|body| body.as_ref().get_ref().has_failed())
    }

    pub(super) fn name(&self, key: Key) -> String {
        self.entries.get(key).map_or_else(String::new, Entry::name)
    }

    pub(super) fn set_name(&mut self, key: Key, name: Rc<str>) -> Option<Rc<str>> {
        self.entries.get_mut(key)?.name.replace(name)
    }

    /// For messages.
    pub(crate) fn describe(&self, key: Key) -> String {
        self.entries.get(key).map_or_else(String::new, Entry::describe)
    }

    /// The main task, whose future is on the stack of who runs it.
    pub(crate) fn add_main(hub: &Rc<Hub>, origin: Origin) -> Result<Main> {
        let added = hub.tasks.borrow_mut().insert(None, origin, &hub.remote);
        let key = added.map_err(|_| Error::OutOfMemory)?;
        let main = Main { hub: hub.clone(), key };
        let queued = hub.engine().call_soon(Job::Task(key));
        queued.map_err(|_| Error::OutOfMemory)?;
        Ok(main)
    }

    /// The loop is closed: nothing takes another step.
    pub(crate) fn cancel_all(hub: &Rc<Hub>) {
        let keys: Vec<Key> = hub.tasks.borrow().entries.iter().map(|(key, _)| key).collect();
        for key in keys {
            let begun = hub.tasks.borrow_mut().begin(key);
            if let Begun::Step { mut stepper, .. } = begun {
                stepper.fail();
                end(hub, key, stepper);
            }
        }
    }
}

impl Entry {
    fn name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("Task-{}", self.number),
        }
    }

    fn describe(&self) -> String {
        format!("task {} of {}", self.name(), self.origin)
    }
}

impl Stepper {
    /// Drops the future: there is nothing but the cancellation.
    fn fail(&mut self) {
        if let Some(body) = &mut self.body {
            body.as_mut().fail(TaskError::Cancelled);
        }
    }
}

/// What is left of a task that has ended.
#[derive(Default)]
struct Ending {
    /// Its result, if nobody wants it.
    body: Option<Pin<Box<dyn Body>>>,
    joiner: Option<Waker>,
    on_done: Vec<OnDone>,
    subject: String,
}

/// A task's step. False if its future is not in the table.
#[inline]
pub(crate) fn step(hub: &Rc<Hub>, key: Key) -> bool {
    let begun = hub.tasks.borrow_mut().begin(key);
    let (mut stepper, cancelled) = match begun {
        Begun::Nothing => return true,
        Begun::Elsewhere => return false,
        Begun::Step { stepper, cancelled } => (stepper, cancelled),
    };
    let before = hub.current.replace(Some(key));
    let Stepper { body, ours, theirs } = &mut *stepper;
    let (done, again) = ours.during(|| match body {
        Some(body) if cancelled => {
            body.as_mut().fail(TaskError::Cancelled);
            true
        }
        Some(body) => body.as_mut().step(&mut Context::from_waker(theirs)),
        None => true,
    });
    hub.current.set(before);
    if done {
        end(hub, key, stepper);
        return true;
    }
    hub.tasks.borrow_mut().put_back(key, stepper);
    if again {
        hub.ready(key);
    }
    true
}

/// The task whose step is running, if `waker` is its own and not one of a future in between.
#[inline]
pub(crate) fn current_by_waker(hub: &Hub, waker: &Waker) -> Option<Key> {
    let key = hub.current.get()?;
    is_of_step(waker).then_some(key)
}

fn end(hub: &Rc<Hub>, key: Key, stepper: Box<Stepper>) {
    let ending = hub.tasks.borrow_mut().finish(key, Some(stepper));
    // Wakers may be anybody's.
    guard(hub, || announce(hub, ending));
}

/// Tells everybody who is to know.
fn announce(hub: &Rc<Hub>, ending: Ending) {
    let Ending { body, joiner, on_done, subject } = ending;
    if let Some(joiner) = joiner {
        joiner.wake();
    }
    for what in on_done {
        tell(hub, what);
    }
    if let Some(body) = body {
        discard(hub, body, subject);
    }
}

fn tell(hub: &Rc<Hub>, what: OnDone) {
    match what {
        OnDone::Tell(note) => note(),
        OnDone::Call(callback, origin) => drop(hub.call_soon(callback, origin)),
    }
}

/// Drops a result that nobody wants; a panic that nobody has heard of is told.
fn discard(hub: &Rc<Hub>, body: Pin<Box<dyn Body>>, subject: String) {
    if let Some(panic) = body.as_ref().get_ref().panic() {
        report_panic(hub, "A task failed and nobody awaits it", subject, panic);
    }
    event_loop::discard(hub, body);
}

/// Has something done when the task has ended; now, if it has.
pub(super) fn on_done(hub: &Rc<Hub>, key: Key, what: OnDone) {
    let mut tasks = hub.tasks.borrow_mut();
    match tasks.entries.get_mut(key) {
        Some(entry) if entry.state != State::Done => entry.on_done.push(what),
        _ => {
            drop(tasks);
            tell(hub, what);
        }
    }
}

/// The result of a task, or a note of who waits for it.
pub(super) fn poll_result<T: 'static>(hub: &Hub, key: Key, waker: &Waker) -> Poll<Outcome<T>> {
    let mut tasks = hub.tasks.borrow_mut();
    let Some(entry) = tasks.entries.get_mut(key) else {
        return Poll::Ready(Err(TaskError::Cancelled));
    };
    if entry.state != State::Done {
        let known = entry.joiner.as_ref().is_some_and(|joiner| joiner.will_wake(waker));
        drop(tasks);
        if !known {
            join(hub, key, waker.clone());
        }
        return Poll::Pending;
    }
    let mut place: Option<Outcome<T>> = None;
    if let Some(body) = &mut entry.body {
        let into: &mut dyn Any = &mut place;
        body.as_mut().take(into);
    }
    drop(tasks);
    Poll::Ready(place.unwrap_or(Err(TaskError::Cancelled)))
}

fn join(hub: &Hub, key: Key, waker: Waker) {
    let mut tasks = hub.tasks.borrow_mut();
    let before = tasks.entries.get_mut(key).and_then(|entry| entry.joiner.replace(waker));
    drop(tasks);
    drop(before);
}

/// Nobody will ask for the result.
pub(super) fn detach(hub: &Rc<Hub>, key: Key) {
    let mut tasks = hub.tasks.borrow_mut();
    let Some(entry) = tasks.entries.get_mut(key) else { return };
    entry.detached = true;
    if entry.state != State::Done {
        return;
    }
    let subject =
        if entry.body.as_ref().is_some_and(|body| body.as_ref().get_ref().panic().is_some()) {
            entry.describe()
        } else {
            String::new()
        };
    let entry = tasks.entries.remove(key);
    drop(tasks);
    if let Some(body) = entry.and_then(|entry| entry.body) {
        discard(hub, body, subject);
    }
}

/// The tasks that have not ended.
pub(crate) fn all_tasks_of(hub: &Rc<Hub>) -> Vec<TaskRef> {
    let tasks = hub.tasks.borrow();
    let alive = tasks.entries.iter().filter(|(_, entry)| entry.state != State::Done);
    alive.map(|(key, _)| TaskRef { hub: hub.clone(), key }).collect()
}

/// The main task of a run; it ends with this.
pub(crate) struct Main {
    hub: Rc<Hub>,
    key: Key,
}

impl Main {
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// A step of the task, whose future is `future`; its outcome, once.
    pub(crate) fn step<F: Future>(&self, future: Pin<&mut F>) -> Option<Outcome<F::Output>> {
        let mut tasks = self.hub.tasks.borrow_mut();
        let entry = tasks.entries.get_mut(self.key)?;
        if entry.cancelled {
            return Some(Err(TaskError::Cancelled));
        }
        let stepper = entry.stepper.take()?;
        drop(tasks);
        let before = self.hub.current.replace(Some(self.key));
        let cx = &mut Context::from_waker(&stepper.theirs);
        let (polled, again) = stepper.ours.during(|| poll_guarded(future, cx));
        self.hub.current.set(before);
        let pending = polled.is_pending();
        self.hub.tasks.borrow_mut().put_back(self.key, stepper);
        if again && pending {
            self.hub.ready(self.key);
        }
        match polled {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

impl Drop for Main {
    fn drop(&mut self) {
        let mut tasks = self.hub.tasks.borrow_mut();
        if let Some(entry) = tasks.entries.get_mut(self.key) {
            entry.detached = true;
            let stepper = entry.stepper.take();
            let ending = tasks.finish(self.key, stepper);
            drop(tasks);
            announce(&self.hub, ending);
        }
    }
}
