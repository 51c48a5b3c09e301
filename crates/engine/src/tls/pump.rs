//! The record pump: from ciphertext to plaintext and back, in small steps.

use std::cell::{Cell, RefCell};
use std::collections::TryReserveError;
use std::fmt;

use super::state::{FlowChange, Phase, State};
use super::{Progress, Taken, TlsSession};
use crate::host::Host;
use crate::stream::{Limits, WriteQueue};

/// Output that is handed on before more is encrypted (bytes).
const ENOUGH_OUTPUT: usize = 64 * 1024;
/// A write of this size (bytes) is kept where it is rather than copied, if its host can hold it.
const HOLD_FROM: usize = 2 * 1024;

/// Whether a session error is one.
type Failure<H> = <<H as Host>::Tls as TlsSession>::Error;

/// A TLS connection over a stream. Shared: its owner may call it while it is running the session,
/// which then only leaves a note for who is calling [`Pump::next`].
pub struct Pump<H: Host> {
    session: H::Tls,
    state: State,
    /// What was written and not encrypted.
    backlog: RefCell<WriteQueue<H::Bytes>>,
    /// How reading ended, if that was found out behind data that had to be delivered first.
    ending: Cell<Option<Result<(), Failure<H>>>>,
}

/// The next thing to do for the host of a pump.
#[derive(Debug)]
pub enum TlsStep<E> {
    /// Send [`Pump::take_output`].
    Output,
    /// Plaintext may begin to flow.
    Handshaken,
    HandshakeFailed(E),
    /// The stream ended during the handshake.
    Reset,
    /// So many bytes of plaintext are in the buffer.
    Received(usize),
    /// There may be plaintext: get a buffer from the reader and call [`Pump::read`].
    Offer,
    /// The peer said goodbye. [`Pump::close`] follows.
    Ended,
    /// The stream ended in the middle of what the peer had to say: it had not said goodbye. What
    /// was written is still sent.
    Truncated,
    /// Nothing more can be read or written.
    Failed(E),
    /// Everything is said and sent: close the stream.
    Closed,
    /// Nothing, for now.
    Idle,
}

/// What [`Pump::close`] began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// There is no protected connection to end: abort the stream.
    Abort,
    /// [`TlsStep::Closed`] comes when all is sent and the peer has answered.
    Begun,
    /// It is ending or has ended.
    Already,
}

impl<H: Host> Pump<H> {
    pub fn new(session: H::Tls, limits: Limits) -> Pump<H> {
        Pump {
            session,
            state: State::new(limits),
            backlog: RefCell::default(),
            ending: Cell::new(None),
        }
    }

    pub fn session(&self) -> &H::Tls {
        &self.session
    }

    /// Takes in what the stream received; then [`Pump::next`].
    pub fn feed(&self, ciphertext: &[u8]) -> Result<(), Failure<H>> {
        self.state.fresh.set(true);
        self.state.stuck.set(false);
        self.session.feed(ciphertext)
    }

    /// The stream has ended; then [`Pump::next`]. With `forgiving`, that is as good as the peer's
    /// goodbye. It always is if the peer has said nothing since its owner last wrote: then there
    /// is nothing that could have been cut.
    ///
    /// The session does not hear of it: it would fail, and send nothing more.
    pub fn cut(&self, forgiving: bool) {
        self.state.cut.set(true);
        self.state.forgiving.set(forgiving);
        self.state.fresh.set(true);
    }

    /// Appends to what is to be encrypted and sent. Of large data `hold` may return the owner, so
    /// that it need not be copied.
    pub fn write(
        &self,
        data: &[u8],
        hold: impl FnOnce() -> Option<H::Bytes>,
    ) -> Result<(), TryReserveError> {
        self.state.heard.set(false);
        let held = if data.len() >= HOLD_FROM { hold() } else { None };
        let mut backlog = self.backlog.borrow_mut();
        match held {
            Some(bytes) => backlog.hold(bytes, 0),
            None => backlog.copy(data),
        }
    }

    /// Whether what is written will be sent.
    pub fn is_open(&self) -> bool {
        self.state.phase.get() <= Phase::Open
    }

    /// Whether something may be sent yet: its rest, at the end.
    pub fn is_sending(&self) -> bool {
        self.state.phase.get() <= Phase::Closing
    }

    pub fn is_handshaking(&self) -> bool {
        self.state.is(Phase::Handshake)
    }

    /// Whether the session is running: only notes can be left.
    pub fn is_busy(&self) -> bool {
        self.state.busy.get()
    }

    /// How many bytes were written and are not given away.
    pub fn queued(&self) -> usize {
        self.backlog.borrow().len() + self.state.away.get() + self.session.output_len()
    }

    /// The stream is full, or no longer.
    pub fn set_blocked(&self, blocked: bool) {
        self.state.blocked.set(blocked);
    }

    /// Whether plaintext is delivered.
    pub fn set_reading(&self, reading: bool) {
        self.state.reading_paused.set(!reading);
        if reading {
            self.state.fresh.set(true);
        }
    }

    pub fn is_reading_paused(&self) -> bool {
        self.state.reading_paused.get()
    }

    pub fn set_limits(&self, limits: Limits) {
        let mut flow = self.state.flow.get();
        flow.limits = limits;
        self.state.flow.set(flow);
    }

    /// Whether the writer was told to pause.
    pub fn is_write_paused(&self) -> bool {
        self.state.flow.get().paused
    }

    /// The writer was told to pause by who had the stream before.
    pub fn begin_paused(&self) {
        let mut flow = self.state.flow.get();
        flow.paused = true;
        self.state.flow.set(flow);
    }

    /// What the writer is to be told, with `below` more bytes waiting in the stream.
    pub fn flow_change(&self, below: usize) -> Option<FlowChange> {
        self.state.flow_change(self.queued().saturating_add(below))
    }

    /// Delivers no more, sends what was written, then says goodbye.
    pub fn close(&self) -> Farewell {
        match self.state.phase.get() {
            Phase::Handshake => Farewell::Abort,
            Phase::Open => {
                self.state.phase.set(Phase::Closing);
                Farewell::Begun
            }
            _ => Farewell::Already,
        }
    }

    /// Does nothing any more; what was not sent is dropped.
    pub fn abort(&self) {
        self.state.phase.set(Phase::Dead);
        self.state.aborted.set(true);
        self.backlog.borrow_mut().clear();
        drop(self.ending.take());
    }

    /// Shows an error that is kept for later.
    pub fn visit(&self, each: impl FnOnce(&Failure<H>)) {
        let ending = self.ending.take();
        if let Some(Err(error)) = &ending {
            each(error);
        }
        self.ending.set(ending);
    }

    /// The next thing to do. Plaintext is read into `buffer`, unless it is to be `offered`.
    pub fn next(&self, buffer: &mut [u8], offered: bool) -> TlsStep<Failure<H>> {
        let state = &self.state;
        if state.busy.get() {
            return TlsStep::Idle;
        }
        loop {
            if self.session.output_len() > 0 && !state.is(Phase::Dead) {
                return TlsStep::Output;
            }
            let step = match state.phase.get() {
                Phase::Handshake => self.shake_hands(),
                Phase::Open if state.fresh.get() && !state.reading_paused.get() => {
                    if offered {
                        return TlsStep::Offer;
                    }
                    Some(self.read(buffer)).filter(|step| !matches!(step, TlsStep::Idle))
                }
                Phase::Open => self.encrypt().or(Some(TlsStep::Idle)),
                Phase::Closing => self.encrypt().or_else(|| self.say_goodbye(buffer)),
                Phase::Waiting => self.await_goodbye(buffer),
                Phase::Closed => {
                    state.phase.set(Phase::Dead);
                    Some(TlsStep::Closed)
                }
                Phase::Dead => Some(TlsStep::Idle),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// As [`Pump::next`], but only what concerns writing.
    pub fn next_write(&self) -> TlsStep<Failure<H>> {
        let open = !self.state.busy.get() && self.state.is(Phase::Open);
        if open && self.session.output_len() > 0 {
            return TlsStep::Output;
        }
        let step = if open { self.encrypt() } else { None };
        step.unwrap_or(TlsStep::Idle)
    }

    /// Gives what is to be sent away.
    pub fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), Failure<H>> {
        self.session.take_output(sink)
    }

    /// Reads plaintext, as much as there is and `buffer` takes; for [`TlsStep::Offer`].
    pub fn read(&self, buffer: &mut [u8]) -> TlsStep<Failure<H>> {
        let state = &self.state;
        if let Some(ending) = self.ending.take() {
            return self.end_reading(ending);
        }
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            let taken = self.run(|session| session.read(rest));
            if !state.is(Phase::Open) {
                // Its owner closed it from within: nothing is delivered any more.
                return TlsStep::Idle;
            }
            match taken {
                Ok(Taken::Bytes(bytes)) => {
                    count += bytes;
                    if !self.session.has_more() && !state.cut.get() {
                        state.fresh.set(false);
                        break;
                    }
                    if state.reading_paused.get() {
                        break;
                    }
                }
                Ok(Taken::Blocked) if state.cut.get() && count == 0 => return self.end_by_cut(),
                Ok(Taken::Blocked) => {
                    state.fresh.set(state.cut.get());
                    break;
                }
                Ok(Taken::Ended) if count == 0 => return self.end_reading(Ok(())),
                Err(error) if count == 0 => return self.end_reading(Err(error)),
                ended => {
                    self.ending.set(Some(ended.map(drop)));
                    break;
                }
            }
        }
        if count == 0 {
            return TlsStep::Idle;
        }
        state.heard.set(true);
        TlsStep::Received(count)
    }

    fn end_by_cut(&self) -> TlsStep<Failure<H>> {
        let state = &self.state;
        state.fresh.set(false);
        if state.forgiving.get() || !state.heard.get() {
            return TlsStep::Ended;
        }
        state.phase.set(Phase::Closing);
        TlsStep::Truncated
    }

    fn run<T>(&self, call: impl FnOnce(&H::Tls) -> T) -> T {
        self.state.busy.set(true);
        let result = call(&self.session);
        self.state.busy.set(false);
        result
    }

    fn shake_hands(&self) -> Option<TlsStep<Failure<H>>> {
        let state = &self.state;
        if !state.fresh.replace(false) {
            return Some(TlsStep::Idle);
        }
        let progress = if state.cut.get() {
            state.phase.set(Phase::Dead);
            return Some(TlsStep::Reset);
        } else {
            self.run(TlsSession::handshake)
        };
        if !state.is(Phase::Handshake) {
            return Some(TlsStep::Idle);
        }
        match progress {
            Ok(Progress::Done) => {
                state.phase.set(Phase::Open);
                // Data may have come in one piece with the handshake's end.
                state.fresh.set(true);
                Some(TlsStep::Handshaken)
            }
            Ok(Progress::Blocked) => None,
            Err(error) => {
                state.phase.set(Phase::Dead);
                Some(TlsStep::HandshakeFailed(error))
            }
        }
    }

    fn end_reading(&self, ending: Result<(), Failure<H>>) -> TlsStep<Failure<H>> {
        let state = &self.state;
        state.fresh.set(false);
        match ending {
            Ok(()) => TlsStep::Ended,
            Err(error) => {
                state.phase.set(Phase::Dead);
                TlsStep::Failed(error)
            }
        }
    }

    /// Encrypts what was written, a while. `None` if there is nothing to be done; a step that is
    /// idle if it has to wait.
    fn encrypt(&self) -> Option<TlsStep<Failure<H>>> {
        let state = &self.state;
        if self.backlog.borrow().is_empty() {
            return None;
        }
        if state.stuck.get() && state.cut.get() && state.is(Phase::Closing) {
            // What it waits for can never come.
            self.backlog.borrow_mut().clear();
            return None;
        }
        if state.blocked.get() || state.stuck.get() {
            return Some(TlsStep::Idle);
        }
        // What is written from within the session waits in a queue of its own.
        let mut queue = self.backlog.take();
        let mut outcome = Ok(());
        while let Some(piece) = queue.front() {
            state.away.set(queue.len());
            let piece = piece.get(..ENOUGH_OUTPUT).unwrap_or(piece);
            match self.run(|session| session.write(piece)) {
                Ok(Some(count)) => queue.advance(count),
                Ok(None) => {
                    state.stuck.set(true);
                    break;
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            if self.session.output_len() >= ENOUGH_OUTPUT {
                break;
            }
        }
        state.away.set(0);
        if state.is(Phase::Dead) {
            return Some(TlsStep::Idle);
        }
        let mut backlog = self.backlog.borrow_mut();
        queue.append(&mut backlog);
        *backlog = queue;
        drop(backlog);
        match outcome {
            Ok(()) if self.session.output_len() > 0 => Some(TlsStep::Output),
            Ok(()) => Some(TlsStep::Idle),
            Err(error) => {
                state.phase.set(Phase::Dead);
                Some(TlsStep::Failed(error))
            }
        }
    }

    /// All is encrypted: what the peer has sent meanwhile is for nobody.
    fn say_goodbye(&self, buffer: &mut [u8]) -> Option<TlsStep<Failure<H>>> {
        let state = &self.state;
        if state.cut.get() {
            state.phase.set(Phase::Closed);
            return None;
        }
        if self.session.has_more()
            && let Err(error) = self.discard(buffer)
        {
            state.phase.set(Phase::Dead);
            return Some(TlsStep::Failed(error));
        }
        if !state.is(Phase::Closing) {
            return Some(TlsStep::Idle);
        }
        let progress = self.run(TlsSession::shutdown);
        if !state.is(Phase::Closing) {
            return Some(TlsStep::Idle);
        }
        match progress {
            Ok(Progress::Done) => state.phase.set(Phase::Closed),
            Ok(Progress::Blocked) => {
                state.phase.set(Phase::Waiting);
                state.fresh.set(false);
            }
            Err(error) => {
                state.phase.set(Phase::Dead);
                return Some(TlsStep::Failed(error));
            }
        }
        None
    }

    fn await_goodbye(&self, buffer: &mut [u8]) -> Option<TlsStep<Failure<H>>> {
        let state = &self.state;
        if state.cut.get() {
            state.phase.set(Phase::Closed);
            return None;
        }
        if !state.fresh.replace(false) {
            return Some(TlsStep::Idle);
        }
        match self.discard(buffer) {
            Ok(true) => {
                state.phase.set(Phase::Closed);
                None
            }
            Ok(false) => None,
            Err(error) => {
                state.phase.set(Phase::Dead);
                Some(TlsStep::Failed(error))
            }
        }
    }

    /// Reads for nobody; whether the peer has said goodbye.
    fn discard(&self, buffer: &mut [u8]) -> Result<bool, Failure<H>> {
        loop {
            let taken = self.run(|session| session.read(buffer));
            if self.state.is(Phase::Dead) {
                // Its owner aborted it from within: whatever came of it is for nobody.
                return Ok(false);
            }
            match taken? {
                Taken::Ended => return Ok(true),
                Taken::Blocked => return Ok(false),
                Taken::Bytes(_) => {}
            }
        }
    }
}

impl<H: Host> fmt::Debug for Pump<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("state", &self.state).finish_non_exhaustive()
    }
}
