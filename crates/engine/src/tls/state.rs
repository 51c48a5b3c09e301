//! How far a TLS connection is, and who is to wait for whom.

use std::cell::Cell;

use crate::stream::{Flow, Limits};

/// The life of a connection, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Handshake,
    Open,
    /// Nothing is delivered any more; what was written is still sent, then goodbye is said.
    Closing,
    /// Goodbye is said; the peer has not answered.
    Waiting,
    /// Everything is said. The host has not been told.
    Closed,
    /// Nothing happens any more.
    Dead,
}

/// The notes of a pump. All of them may change while its session runs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Cell<Phase>,
    /// The session is running.
    pub(super) busy: Cell<bool>,
    /// Something was fed, or may be read, since it last said that it needs more.
    pub(super) fresh: Cell<bool>,
    /// The session cannot encrypt before more is fed.
    pub(super) stuck: Cell<bool>,
    /// Its owner does not want to read.
    pub(super) reading_paused: Cell<bool>,
    /// The stream is full.
    pub(super) blocked: Cell<bool>,
    /// The peer has said something since its owner last wrote.
    pub(super) heard: Cell<bool>,
    /// The stream has ended.
    pub(super) cut: Cell<bool>,
    /// An end without a goodbye is as good as one with.
    pub(super) forgiving: Cell<bool>,
    /// Bytes of the backlog that are with the session.
    pub(super) away: Cell<usize>,
    pub(super) flow: Cell<Flow>,
    /// Its owner is told nothing any more.
    pub(super) aborted: Cell<bool>,
}

/// What the writer has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowChange {
    Pause,
    Resume,
}

impl State {
    pub(super) fn new(limits: Limits) -> State {
        State {
            phase: Cell::new(Phase::Handshake),
            busy: Cell::new(false),
            fresh: Cell::new(true),
            stuck: Cell::new(false),
            reading_paused: Cell::new(false),
            blocked: Cell::new(false),
            heard: Cell::new(false),
            cut: Cell::new(false),
            forgiving: Cell::new(false),
            away: Cell::new(0),
            flow: Cell::new(Flow { limits, paused: false }),
            aborted: Cell::new(false),
        }
    }

    pub(super) fn is(&self, phase: Phase) -> bool {
        self.phase.get() == phase
    }

    /// What changes for the writer with `waiting` bytes that are not sent.
    pub(super) fn flow_change(&self, waiting: usize) -> Option<FlowChange> {
        if self.aborted.get() {
            return None;
        }
        let mut flow = self.flow.get();
        let change = if flow.pauses(waiting) {
            Some(FlowChange::Pause)
        } else if flow.resumes(waiting) {
            Some(FlowChange::Resume)
        } else {
            None
        };
        self.flow.set(flow);
        change
    }
}
