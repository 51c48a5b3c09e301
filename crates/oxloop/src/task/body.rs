//! A future, then its result, in one place that does not move.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::error::{Panic, TaskError};

/// What a task's future has led to, as far as its handle is concerned.
pub(super) type Outcome<T> = Result<T, TaskError>;

/// A task without the types of its future and result.
pub(super) trait Body {
    /// Polls the future, once; whether it is done. Nothing passes through this but its result.
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool;
    /// Drops the future: there is no other result.
    fn fail(self: Pin<&mut Self>, error: TaskError);
    /// Gives the result away, into an `Option<Outcome<T>>`.
    fn take(self: Pin<&mut Self>, into: &mut dyn Any);
    /// The panic that it has ended with, if nobody has taken that.
    fn panic(&self) -> Option<&Panic>;
    /// Whether it has ended without a result.
    fn has_failed(&self) -> bool;
}

pin_project! {
    #[project = Stages]
    pub(super) enum Stage<F: Future> {
        Running { #[pin] future: F },
        Finished { outcome: Option<Outcome<F::Output>> },
    }
}

impl<F: Future + 'static> Stage<F> {
    pub(super) fn pinned(future: F) -> Pin<Box<dyn Body>>
    where
        F::Output: 'static,
    {
        Box::pin(Stage::Running { future })
    }
}

impl<F: Future> Stage<F> {
    /// Puts the outcome in the place of the future; one that panics at its end, too.
    fn finish(mut self: Pin<&mut Self>, outcome: Outcome<F::Output>) {
        let stage = Stage::Finished { outcome: Some(outcome) };
        let dropped = catch_unwind(AssertUnwindSafe(|| self.as_mut().set(stage)));
        if let Err(payload) = dropped {
            let outcome = Some(Err(TaskError::Panicked(Panic::new(payload))));
            // There is no future any more, whose drop could panic.
            self.set(Stage::Finished { outcome });
        }
    }
}

impl<F: Future> Body for Stage<F>
where
    F::Output: 'static,
{
    #[inline]
    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let Stages::Running { future } = self.as_mut().project() else { return true };
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => self.finish(Ok(output)),
            Err(payload) => self.finish(Err(TaskError::Panicked(Panic::new(payload)))),
        }
        true
    }

    fn fail(mut self: Pin<&mut Self>, error: TaskError) {
        if matches!(self.as_mut().project(), Stages::Running { .. }) {
            self.finish(Err(error));
        }
    }

    fn take(self: Pin<&mut Self>, into: &mut dyn Any) {
        if let Stages::Finished { outcome } = self.project()
            && let Some(place) = into.downcast_mut::<Option<Outcome<F::Output>>>()
        {
            *place = outcome.take();
        }
    }

    fn panic(&self) -> Option<&Panic> {
        match self {
            Stage::Finished { outcome: Some(Err(TaskError::Panicked(panic))) } => Some(panic),
            _ => None,
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self, Stage::Finished { outcome: Some(Err(_)) })
    }
}
