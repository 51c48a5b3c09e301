//! What can go wrong, apart from what the operating system says.

use std::any::Any;
use std::error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Why a call of a loop failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The loop is closed: nothing can be scheduled or opened any more.
    Closed,
    /// The loop is running, or another one is in this thread.
    Running,
    /// The loop was stopped before the future was done.
    Stopped,
    /// There is no memory for what was given.
    OutOfMemory,
    /// The future that was run did not end by itself.
    Task(TaskError),
    /// The operating system refused.
    Io(io::Error),
}

/// The result of a call of a loop.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => f.write_str("event loop is closed"),
            Error::Running => f.write_str("an event loop is running in this thread"),
            Error::Stopped => f.write_str("event loop stopped before the future was done"),
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Task(error) => error.fmt(f),
            Error::Io(error) => error.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Task(error) => Some(error),
            Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Error {
        Error::Task(error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Io(error) => error,
            Error::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
            other => io::Error::other(other),
        }
    }
}

/// Why a task, or what a thread was given to do, has no result.
#[derive(Debug)]
pub enum TaskError {
    /// It was cancelled, or its loop was closed.
    Cancelled,
    /// It panicked.
    Panicked(Panic),
}

impl TaskError {
    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, TaskError::Cancelled)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Cancelled => f.write_str("cancelled"),
            TaskError::Panicked(panic) => panic.fmt(f),
        }
    }
}

impl error::Error for TaskError {}

impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> io::Error {
        io::Error::other(error.to_string())
    }
}

/// What a panic was given.
pub struct Panic {
    message: Box<str>,
    /// Never locked but by its owner: a lock makes what is `Send` also `Sync`.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Panic {
        let message = match payload.downcast_ref::<&'static str>() {
            Some(text) => *text,
            None => payload.downcast_ref::<String>().map_or("", String::as_str),
        };
        Panic { message: message.into(), payload: Mutex::new(payload) }
    }

    /// The text of the panic, if it has one.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The payload, for [`std::panic::resume_unwind`].
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}
