//! The turn: what happens in which order.
//!
//! 1. Flush what was written outside a turn, take in the inbox. If nothing is ready, wait until
//!    something is, or the next deadline; if something is, poll when the [`Budget`] says so.
//! 2. The timers that are due by now leave the heap.
//! 3. Run the jobs that were ready before, then flush.
//! 4. Handle the events, flushing after each; the datagrams of a batch are one event.
//! 5. Run the due timers, then flush. End of the turn; if it is the last, what was too much to be
//!    taken in from the inbox at once runs before.
//!
//! What runs in 3 to 5 and schedules something schedules it for the next turn. An interrupted run
//! (an exception passed through the host) leaves ready jobs and due timers where they are; events
//! are dropped, for the poller reports them again.
//!
//! [`Budget`]: crate::budget::Budget

use std::io;
use std::num::NonZero;
use std::time::Duration;

use oxloop_os::Event;

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::moment::Moment;
use crate::reactor::Kind;
use crate::slots::Key;
use crate::step::{Direction, Step, Wait};

/// The longest wait while the poller does not know all that it should.
const HAUNTED: Duration = Duration::from_millis(5);

/// Where in a turn the engine is.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    phase: Phase,
    pub(crate) stopping: bool,
    single: bool,
    now: Moment,
    /// Jobs of this turn that have not run.
    jobs: usize,
    /// The event that is being handled.
    event: usize,
    /// Connections that this event has accepted.
    accepted: usize,
    /// Between `begin_run` and its end: what is queued will be flushed soon.
    running: bool,
    /// Counts what is flushed once: batches of jobs, and callbacks of events and timers.
    stretch: u64,
    /// The deadline that ends the wait.
    until: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Start,
    /// The clock is asked for, to poll by it.
    Asking,
    Poll,
    Waiting,
    /// The clock is asked for, to collect the due timers by it.
    AskingAgain,
    Collect,
    Jobs,
    Events,
    Due,
    End,
    /// The run is about to end.
    Backlog,
}

/// How many timers ahead the host is told of one.
const AHEAD: usize = 6;

impl<H: Host> Engine<H> {
    /// Begins a run. `single` ends it after one turn.
    pub fn begin_run(&mut self, single: bool) {
        self.turn.phase = Phase::Start;
        self.turn.single = single;
        self.turn.running = true;
        self.turn.stretch += 1;
        self.batch.events.clear();
        self.turn.event = 0;
        self.keep_rest();
        self.budget.reset();
    }

    /// The run is over, if it did not end by [`Step::Done`]: an exception passed through the host.
    /// What waits for its flush is sent now, since there may be no other run.
    pub fn end_run(&mut self) {
        self.turn.running = false;
        self.send_all_waiting();
    }

    /// Runs up to the next thing that the host has to do.
    pub fn step(&mut self) -> Step<H> {
        loop {
            let step = match self.turn.phase {
                Phase::Start => self.start(),
                Phase::Asking | Phase::AskingAgain => Some(Step::Clock),
                Phase::Poll => self.poll(),
                // The host forgot to bring the wait back; there is nothing to handle.
                Phase::Waiting => self.enter(Phase::Jobs),
                Phase::Collect => self.collect(),
                Phase::Jobs => self.jobs(),
                Phase::Events => self.events(),
                Phase::Due => self.due(),
                Phase::End => self.end(),
                Phase::Backlog => self.backlog(),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The next of the batch of ready jobs, if the turn is there: what [`Engine::step`] would
    /// return, without the detour through a [`Step`].
    #[inline]
    pub fn next_job(&mut self) -> Option<H::Job> {
        if self.turn.phase != Phase::Jobs || (self.turn.jobs == 0 && !self.turn_quietly()) {
            return None;
        }
        self.turn.jobs -= 1;
        self.ready.pop()
    }

    /// From the end of a batch of jobs to the beginning of the next, if nothing lies in between:
    /// no event, no due timer, nothing to flush, no mail, and no poll yet. False if something does;
    /// then [`Engine::step`] goes through it phase by phase.
    #[inline]
    fn turn_quietly(&mut self) -> bool {
        let quiet = self.batch.events.is_empty()
            && self.dirty.is_empty()
            && self.due.is_empty()
            && !self.mail.is_overdue()
            && !self.turn.stopping
            && !self.turn.single
            && !self.inbox.has_mail()
            && !self.ready.is_empty()
            && self.budget.spend(self.ready.len());
        if quiet {
            self.turn.jobs = self.ready.len();
            self.turn.stretch += 1;
        }
        quiet
    }

    /// Answers [`Step::Clock`].
    pub fn tell(&mut self, now: Moment) {
        self.turn.now = now;
        self.turn.phase = match self.turn.phase {
            Phase::Asking => Phase::Poll,
            Phase::AskingAgain => Phase::Collect,
            other => other,
        };
    }

    /// Shortens a wait to a look if there is something to do since it was asked for.
    pub fn reconsider(&self, wait: &mut Wait<H::Kernel>) {
        let sooner = self.timers.first_deadline() != self.turn.until;
        if sooner || self.is_busy() || self.inbox.has_mail() {
            wait.timeout = Some(Duration::ZERO);
        }
    }

    /// Takes back the [`Wait`] of [`Step::Wait`].
    pub fn waited(&mut self, wait: Wait<H::Kernel>) -> io::Result<()> {
        self.inbox.wake_up();
        self.batch = wait.batch;
        self.reactor.begin_batch();
        self.take_mail();
        self.turn.jobs = self.ready.len();
        self.budget.waited(self.turn.jobs);
        self.turn.phase = if self.timers.is_empty() { Phase::Jobs } else { Phase::AskingAgain };
        wait.result
    }

    fn enter(&mut self, phase: Phase) -> Option<Step<H>> {
        self.turn.phase = phase;
        None
    }

    #[inline]
    fn start(&mut self) -> Option<Step<H>> {
        if !self.dirty.is_empty() {
            return self.flush_next();
        }
        self.take_mail();
        if self.is_busy() {
            self.turn.jobs = self.ready.len();
            if self.budget.spend(self.turn.jobs) {
                return self.enter(Phase::Jobs);
            }
        } else if self.timers.is_empty() {
            return self.sleep(None);
        }
        self.enter(Phase::Asking)
    }

    fn is_busy(&self) -> bool {
        !self.ready.is_empty()
            || !self.due.is_empty()
            || self.mail.is_overdue()
            || self.resolver.has_answers()
            || self.turn.stopping
    }

    /// Takes in what other threads have left.
    #[inline]
    fn take_mail(&mut self) {
        if self.inbox.take_into(&mut self.ready) {
            self.resolver.collect();
        }
    }

    fn poll(&mut self) -> Option<Step<H>> {
        let now = self.turn.now;
        if self.is_busy() {
            if !self.budget.look(now, self.ready.len() + self.due.len()) {
                return self.enter(Phase::Collect);
            }
            return self.poll_at_once();
        }
        match self.timers.next_deadline() {
            None => self.sleep(None),
            Some(deadline) if deadline <= now => self.poll_at_once(),
            Some(deadline) => self.sleep(Some(now.until(deadline))),
        }
    }

    fn poll_at_once(&mut self) -> Option<Step<H>> {
        self.turn.phase = Phase::Collect;
        let polled = self.kernel.wait(&mut self.batch, Some(Duration::ZERO));
        self.reactor.begin_batch();
        polled.err().map(Step::PollFailed)
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Option<Step<H>> {
        if let Err(error) = self.kernel.prepare() {
            return Some(Step::PollFailed(error));
        }
        if !self.inbox.fall_asleep() {
            return self.enter(Phase::Start);
        }
        self.turn.phase = Phase::Waiting;
        self.turn.until = self.timers.first_deadline();
        let timeout = match timeout {
            _ if !self.reactor.is_haunted() => timeout,
            Some(timeout) => Some(timeout.min(HAUNTED)),
            None => Some(HAUNTED),
        };
        let (kernel, batch) = (self.kernel.clone(), std::mem::take(&mut self.batch));
        Some(Step::Wait(Wait { kernel, batch, timeout, result: Ok(()) }))
    }

    fn collect(&mut self) -> Option<Step<H>> {
        while let Some(key) = self.timers.pop_due(self.turn.now) {
            self.due.push_back(key);
        }
        self.turn.jobs = self.ready.len();
        self.enter(Phase::Jobs)
    }

    #[inline]
    fn jobs(&mut self) -> Option<Step<H>> {
        if self.turn.jobs > 0 {
            self.turn.jobs -= 1;
            if let Some(job) = self.ready.pop() {
                return Some(Step::Job(job));
            }
        }
        self.turn.event = 0;
        self.turn.accepted = 0;
        self.turn.stretch += 1;
        self.enter(Phase::Events)
    }

    #[inline]
    fn events(&mut self) -> Option<Step<H>> {
        self.turn.stretch += 1;
        if let Some(step) = self.next_datagram() {
            return Some(step);
        }
        if self.resolver.has_answers()
            && let Some(step) = self.next_answer()
        {
            return Some(step);
        }
        if !self.dirty.is_empty()
            && let Some(step) = self.flush_next()
        {
            return Some(step);
        }
        while let Some(event) = self.batch.events.get_mut(self.turn.event) {
            let event = take_half(event);
            let Some((key, direction)) = event else {
                self.turn.event += 1;
                self.turn.accepted = 0;
                continue;
            };
            if let Some(step) = self.handle(key, direction) {
                return Some(step);
            }
        }
        self.batch.events.clear();
        self.enter(Phase::Due)
    }

    fn handle(&mut self, key: Key, direction: Direction) -> Option<Step<H>> {
        let Some(source) = self.reactor.get(key) else {
            self.reactor.stale_event();
            return None;
        };
        match (&source.kind, direction) {
            (Kind::Watch(_), _) => self.watch_ready(key, direction),
            (Kind::Stream(_), Direction::Read) => self.read_ready(key),
            (Kind::Stream(_), Direction::Write) => self.write_ready(key),
            (Kind::Datagram(_), Direction::Read) => self.datagrams_ready(key),
            (Kind::Datagram(_), Direction::Write) => self.endpoint_writable(key),
            (Kind::Listener(_), Direction::Read) => self.accept_ready(key),
            (Kind::Child(_), Direction::Read) => self.child_ready(key),
            (Kind::Listener(_) | Kind::Child(_), Direction::Write) => None,
        }
    }

    /// Accepts one connection and keeps the event for the next.
    fn accept_ready(&mut self, key: Key) -> Option<Step<H>> {
        let mut accepted = self.turn.accepted;
        let step = self.accept_one(key, &mut accepted)?;
        self.turn.accepted = accepted;
        if let Some(event) = self.batch.events.get_mut(self.turn.event) {
            event.readable = true;
        }
        Some(step)
    }

    #[inline]
    fn due(&mut self) -> Option<Step<H>> {
        self.turn.stretch += 1;
        while let Some(key) = self.due.pop_front() {
            if let Some(&later) = self.due.get(AHEAD)
                && let Some(job) = self.timers.job(later)
            {
                H::approach(job);
            }
            if let Some(job) = self.timers.cancel(key) {
                return Some(Step::Job(job));
            }
        }
        self.enter(Phase::End)
    }

    #[inline]
    fn end(&mut self) -> Option<Step<H>> {
        if !self.dirty.is_empty() {
            return self.flush_next();
        }
        self.reactor.exorcise();
        let is_last = self.turn.stopping || self.turn.single;
        if is_last && self.inbox.has_backlog() {
            return self.enter(Phase::Backlog);
        }
        self.turn.phase = Phase::Start;
        self.turn.stretch += 1;
        self.turn.running = !is_last;
        if is_last { Some(Step::Done) } else { None }
    }

    /// Runs what was posted before the run was to end, as if it had been taken in at once.
    fn backlog(&mut self) -> Option<Step<H>> {
        match self.inbox.next_of_backlog() {
            Some(job) => Some(Step::Job(job)),
            None => self.enter(Phase::End),
        }
    }
}

impl Turn {
    /// What is flushed together, by number; `None` while nobody runs the engine.
    pub(crate) fn stretch(&self) -> Option<NonZero<u64>> {
        if self.running { NonZero::new(self.stretch) } else { None }
    }
}

/// Takes one direction out of an event: readable first, as asyncio has it.
fn take_half(event: &mut Event) -> Option<(Key, Direction)> {
    let key = Key::from_token(event.token);
    if std::mem::take(&mut event.readable) {
        Some((key, Direction::Read))
    } else if std::mem::take(&mut event.writable) {
        Some((key, Direction::Write))
    } else {
        None
    }
}
