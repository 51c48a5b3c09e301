//! Driving the engine: what each of its steps means here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Instant;

use oxloop_engine::{Key, Moment, Step};
use oxloop_os::clock;

use super::report::{report, report_panic};
use super::schedule::{Call, Origin, Run};
use super::watch;
use super::{Cause, Context, Loop};
use crate::error::{Error, Panic, Result, TaskError};
use crate::host::{Endpoint, Job};
use crate::hub::Hub;
use crate::task::{self as tasks, Tasks};

pub(super) fn run_forever(hub: &Rc<Hub>) -> Result<()> {
    let _running = Running::begin(hub)?;
    turns(hub, &mut |_| false)
}

pub(super) fn run_until_complete<F: Future>(hub: &Rc<Hub>, future: F) -> Result<F::Output> {
    let _running = Running::begin(hub)?;
    let main = Tasks::add_main(hub, Origin::of::<F>())?;
    let mut future = pin!(future);
    let mut outcome = None;
    let mut step = |key| {
        if key != main.key() {
            return false;
        }
        // A wake-up that was queued before the end comes too late.
        if outcome.is_none() {
            outcome = main.step(future.as_mut());
            if outcome.is_some() {
                hub.engine().stop(true);
            }
        }
        true
    };
    let run = turns(hub, &mut step);
    drop(main);
    match outcome {
        Some(outcome) => outcome.map_err(Error::Task),
        None => run.and(Err(Error::Stopped)),
    }
}

/// What `run` does at the end: tasks that are left are cancelled and have ended, threads too.
pub(super) async fn finish(event_loop: Loop) {
    loop {
        let mut left = tasks::all_tasks_of(&event_loop.hub);
        left.retain(|task| !task.is_current());
        if left.is_empty() {
            break;
        }
        // Those, too, that the ends of others have made.
        for task in left {
            task.cancel();
        }
        crate::yield_now().await;
    }
    event_loop.shutdown_default_executor().await;
}

/// The loop is running, until this is dropped.
struct Running<'a>(&'a Rc<Hub>);

impl Running<'_> {
    fn begin(hub: &Rc<Hub>) -> Result<Running<'_>> {
        hub.check_open()?;
        if hub.running.get() || Hub::with_running(|running| running.is_some()) {
            return Err(Error::Running);
        }
        hub.running.set(true);
        Hub::set_running(Some(hub.clone()));
        hub.engine().begin_run(false);
        Ok(Running(hub))
    }
}

impl Running<'_> {
    /// What waits to be encrypted is sent now: there may be no other run.
    fn fill(&self) {
        loop {
            let next = self.0.engine().next_fill();
            let Some(key) = next else { return };
            tell(self.0, key, |conn| conn.fill(self.0, key));
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.fill();
        let mut engine = self.0.engine();
        engine.end_run();
        engine.stop(false);
        drop(engine);
        self.0.running.set(false);
        Hub::set_running(None);
    }
}

/// Runs turns until `stop`. `main` is asked first whether a task's step is its own.
fn turns(hub: &Rc<Hub>, main: &mut dyn FnMut(Key) -> bool) -> Result<()> {
    loop {
        let mut next = hub.engine().next_job();
        while let Some(job) = next {
            run(hub, job, main);
            next = hub.engine().next_job();
        }
        let step = hub.engine().step();
        match step {
            Step::Job(job) => run(hub, job, main),
            Step::Clock => {
                let now = Moment::from_seconds(clock::monotonic()).unwrap_or_default();
                hub.engine().tell(now);
            }
            Step::Wait(mut wait) => {
                wait.block();
                let waited = hub.engine().waited(wait);
                waited?;
            }
            Step::Watch(key, direction) => {
                let call = watch::callback(hub, key, direction);
                if let Some(call) = call {
                    run(hub, Job::Call(call), main);
                }
            }
            Step::Received(key, count) => tell(hub, key, |conn| conn.received(hub, key, count)),
            Step::Offer(key) => tell(hub, key, |conn| conn.offered(hub, key)),
            Step::Plenty(key, size) => tell(hub, key, |conn| conn.plenty(hub, key, size)),
            Step::Ended(key) => tell(hub, key, |conn| conn.ended(hub, key)),
            Step::ReadFailed(key, error) => {
                tell(hub, key, |conn| conn.read_failed(hub, key, error))
            }
            Step::Datagram(key) => tell(hub, key, |conn| conn.datagram(hub, key)),
            Step::DatagramFailed(key, error) => {
                tell(hub, key, |conn| conn.datagram_failed(hub, key, error));
            }
            Step::Fill(key) => tell(hub, key, |conn| conn.fill(hub, key)),
            Step::Full(key) => tell(hub, key, |conn| conn.full(hub, key)),
            Step::Flushed(key, flushed) => tell(hub, key, |conn| conn.flushed(hub, key, flushed)),
            Step::FileSent(key, sent) => tell(hub, key, |conn| conn.file_sent(hub, key, sent)),
            Step::WriteFailed(key, error) => {
                tell(hub, key, |conn| conn.write_failed(hub, key, error));
            }
            Step::Accepted(key, fd, peer) => {
                let listener = hub.engine().listener(key).cloned();
                match listener {
                    Some(listener) => guard(hub, || listener.accepted(hub, key, fd, peer)),
                    None => fd.close(),
                }
            }
            Step::AcceptFailed(key, failure) => {
                let listener = hub.engine().listener(key).cloned();
                if let Some(listener) = listener {
                    guard(hub, || listener.accept_failed(hub, key, failure));
                }
            }
            Step::Exited(ended) => {
                let (conn, pidfd, exit) = (ended.conn, ended.pidfd, ended.exit);
                let ended = oxloop_engine::Exited { conn: (), pidfd, exit };
                guard(hub, || conn.exited(hub, ended));
            }
            Step::Resolved(conn, answer) => guard(hub, || conn.resolved(hub, answer)),
            Step::PollFailed(error) => return Err(Error::Io(error)),
            Step::Done => return Ok(()),
        }
    }
}

/// Lets the owner of a source handle a step.
#[inline]
fn tell(hub: &Rc<Hub>, key: Key, handle: impl FnOnce(Rc<dyn Endpoint>)) {
    let conn = hub.engine().conn(key).cloned();
    let Some(conn) = conn else { return };
    if hub.debug.get() {
        return watch_time(hub, "an event of a connection".to_owned(), || {
            guard(hub, || handle(conn));
        });
    }
    guard(hub, || handle(conn));
}

/// The last line of defence: endpoints catch what their protocols do.
#[inline]
pub(crate) fn guard(hub: &Rc<Hub>, call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        report_panic(hub, "A callback failed", String::new(), &Panic::new(payload));
    }
}

#[inline]
fn run(hub: &Rc<Hub>, job: Job, main: &mut dyn FnMut(Key) -> bool) {
    match job {
        // The way of most.
        Job::Task(key) if !hub.debug.get() => {
            if !tasks::step(hub, key) {
                main(key);
            }
        }
        job => run_other(hub, job, main),
    }
}

#[inline(never)]
fn run_other(hub: &Rc<Hub>, job: Job, main: &mut dyn FnMut(Key) -> bool) {
    if hub.debug.get() {
        let subject = subject_of(hub, &job);
        return watch_time(hub, subject, || run_job(hub, job, main));
    }
    run_job(hub, job, main);
}

#[inline]
fn run_job(hub: &Rc<Hub>, job: Job, main: &mut dyn FnMut(Key) -> bool) {
    match job {
        Job::Task(key) => {
            if !tasks::step(hub, key) {
                main(key);
            }
        }
        Job::Call(key) => run_call(hub, key),
        Job::Wake(waker) => guard(hub, || waker.wake()),
        Job::Remote(call) => run_guarded(hub, call.origin(), || call.run()),
    }
}

/// Calls something of the program's, and says so if it takes long.
#[cold]
fn watch_time(hub: &Rc<Hub>, subject: String, call: impl FnOnce()) {
    let begin = Instant::now();
    call();
    let duration = begin.elapsed();
    if duration >= hub.slow.get() {
        let (message, cause) = ("A callback took long", Cause::Slow(duration));
        report(hub, &Context { message, subject, cause });
    }
}

fn subject_of(hub: &Hub, job: &Job) -> String {
    match job {
        Job::Task(key) => hub.tasks.borrow().describe(*key),
        Job::Call(key) => {
            let calls = hub.calls.borrow();
            calls.get(*key).map_or_else(String::new, |call| format!("callback {}", call.origin))
        }
        Job::Remote(call) => format!("callback {}", call.origin()),
        Job::Wake(_) => "a waker".to_owned(),
    }
}

fn run_call(hub: &Rc<Hub>, key: Key) {
    let mut calls = hub.calls.borrow_mut();
    match calls.get_mut(key) {
        None => {}
        Some(Call { run: Run::Once(_), .. }) => {
            let call = calls.remove(key);
            drop(calls);
            if let Some(Call { run: Run::Once(callback), origin }) = call {
                run_guarded(hub, origin, callback);
            }
        }
        Some(Call { run: Run::Again(place), origin }) => {
            let (callback, origin) = (place.take(), *origin);
            drop(calls);
            let Some(mut callback) = callback else { return };
            run_guarded(hub, origin, &mut callback);
            let mut calls = hub.calls.borrow_mut();
            if let Some(Call { run: Run::Again(place), .. }) = calls.get_mut(key) {
                *place = Some(callback);
            } else {
                // Removed by itself: dropped with nothing borrowed.
                drop(calls);
                discard(hub, callback);
            }
        }
    }
}

#[inline]
fn run_guarded(hub: &Rc<Hub>, origin: Origin, call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        let subject = format!("callback {origin}");
        report_panic(hub, "A callback failed", subject, &Panic::new(payload));
    }
}

/// Drops something of the program's, which may panic.
#[inline]
pub(crate) fn discard<T>(hub: &Rc<Hub>, value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(value))) {
        report_panic(hub, "A destructor failed", String::new(), &Panic::new(payload));
    }
}

/// Polls a future that may panic.
pub(crate) fn poll_guarded<F: Future + ?Sized>(
    future: Pin<&mut F>,
    cx: &mut task::Context<'_>,
) -> Poll<Result<F::Output, TaskError>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(payload) => Poll::Ready(Err(TaskError::Panicked(Panic::new(payload)))),
    }
}
