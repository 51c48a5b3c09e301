//! What nobody else can be told: the exception handler.

use std::cell::RefCell;
use std::error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use crate::error::Panic;
use crate::event_loop::Loop;
use crate::hub::Hub;

/// Something that the exception handler is told.
#[derive(Debug)]
pub struct Context<'a> {
    /// What happened, in words.
    pub message: &'a str,
    /// What it happened to: a callback or task with the place where it was made; may be empty.
    pub subject: String,
    /// Why.
    pub cause: Cause<'a>,
}

/// Why the exception handler is called.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Cause<'a> {
    /// Code of the program panicked.
    Panic(&'a Panic),
    /// An error that ended a connection, or that the system had to tell.
    Error(&'a (dyn error::Error + 'static)),
    /// A callback or a step took this long, in debug mode.
    Slow(Duration),
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)?;
        if !self.subject.is_empty() {
            write!(f, ": {}", self.subject)?;
        }
        match self.cause {
            Cause::Panic(panic) => write!(f, ": {panic}"),
            Cause::Error(error) => write!(f, ": {error}"),
            Cause::Slow(duration) => write!(f, ": {:.3} seconds", duration.as_secs_f64()),
        }
    }
}

type Handler = Rc<dyn Fn(&Loop, &Context<'_>)>;

/// Whom to tell.
#[derive(Default)]
pub(crate) struct Reporter(RefCell<Option<Handler>>);

impl Reporter {
    pub(super) fn set(&self, handler: Option<Handler>) {
        let before = self.0.replace(handler);
        drop(before);
    }

    pub(crate) fn clear(&self) {
        self.set(None);
    }
}

/// Tells the handler. One that panics is told of on standard error, and so is what it was told.
#[cold]
pub(crate) fn report(hub: &Rc<Hub>, context: &Context<'_>) {
    let handler = hub.reporter.0.borrow().clone();
    let Some(handler) = handler else {
        eprintln!("oxloop: {context}");
        return;
    };
    let told = catch_unwind(AssertUnwindSafe(|| handler(&hub.handle(), context)));
    if let Err(payload) = told {
        let panic = Panic::new(payload);
        eprintln!("oxloop: {context}\noxloop: the exception handler {panic}");
    }
}

/// Tells the handler of a panic.
#[cold]
pub(crate) fn report_panic(hub: &Rc<Hub>, message: &str, subject: String, panic: &Panic) {
    report(hub, &Context { message, subject, cause: Cause::Panic(panic) });
}

/// Tells the handler of an error.
#[cold]
pub(crate) fn report_error(
    hub: &Rc<Hub>,
    message: &str,
    subject: String,
    error: &(dyn error::Error + 'static),
) {
    report(hub, &Context { message, subject, cause: Cause::Error(error) });
}
