//! What a loop holds, for the collector and at its end: references, jobs, connections, descriptors.
//!
//! Invariant: whatever leaves the engine leaves it before it is dropped, for dropping a reference
//! runs Python; and the descriptors that are the loop's own are closed.

use oxloop_engine::{Engine, Payload, System};
use pyo3::gc::{PyTraverseError, PyVisit};

use super::{Loop, process};
use crate::host::Job;
use crate::raw::Ref;

impl Loop {
    /// Shows the collector what there is.
    pub(super) fn show(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in [&self.task_factory, self.clock.namespace(), &self.keywords] {
            slot.visit(|reference| visit.call(reference.as_py()))?;
        }
        self.files.visit(|file| visit.call(file.as_py()))?;
        if self.is_running() {
            // It is alive, and so is all that it holds. Nothing may be shown but by objects that
            // the collector knows, which not every handle is now.
            return Ok(());
        }
        // Borrowed only if the collector runs inside the engine, which allocates no Python object.
        let Ok(engine) = self.engine.try_borrow() else { return Ok(()) };
        let mut result = Ok(());
        engine.visit(|payload| {
            let mut reach = |reference: &Ref| {
                if result.is_ok() {
                    result = visit.call(reference.as_py());
                }
            };
            match payload {
                Payload::Conn(conn) | Payload::Child(conn, _) => reach(conn),
                Payload::Job(job) => job.visit(reach),
            }
        });
        result
    }

    /// Lets go of everything, for the collector.
    pub(super) fn let_go(&self) {
        self.task_factory.set(None);
        self.clock.namespace().set(None);
        self.keywords.set(None);
        self.close_remote();
        if let Ok(mut engine) = self.engine.try_borrow_mut() {
            let all = engine.drain();
            drop(engine);
            part_with(all);
        }
        self.files.forget_all();
    }

    /// The loop is closed: drops everything scheduled and watched.
    pub(super) fn drop_all(&self) {
        self.close_remote();
        let all = self.engine().drain();
        // A new engine has no descriptors; the old one's are closed with it.
        let empty = Engine::new(System::default());
        let door = self.door.replace(empty.door());
        let old = self.engine.replace(empty);
        part_with(all);
        drop((door, old));
        self.files.forget_all();
        self.keywords.set(None);
    }

    /// Nothing comes from other native modules' threads any more.
    fn close_remote(&self) {
        let remote = self.remote.take();
        if let Some(remote) = remote {
            remote.close();
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.close_remote();
        // While the thread is attached, and here: a thread that posts may have the last door.
        part_with(self.engine.get_mut().drain());
    }
}

/// The end of what was in an engine.
fn part_with(all: Vec<Payload<Job, Ref>>) {
    process::close_all(&all);
    drop(all);
}
