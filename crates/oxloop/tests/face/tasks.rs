use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use oxloop::{Error, EventLoop, create_task, current_task, yield_now};

use crate::support::{Dropped, Log, run, turns};

#[test]
fn a_task_takes_its_first_step_in_the_next_turn() {
    let log = Log::default();
    run(async {
        let task = create_task({
            let log = log.clone();
            async move { log.say("task") }
        });
        log.say("main");
        task.await.unwrap();
    });
    assert_eq!(log.take(), ["main", "task"]);
}

#[test]
fn cancelling_drops_the_future_where_it_waits() {
    let log = Log::default();
    run(async {
        let guard = Dropped(log.clone(), "dropped");
        let task = create_task(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        assert!(task.cancel());
        // Not inside of the call.
        assert_eq!(log.take(), [""; 0]);
        let watched = task.task_ref().clone();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["dropped"]);
        assert!(watched.is_done() && !watched.cancel());
    });
}

#[test]
fn a_task_that_cancels_itself_ends_at_its_next_wait() {
    let log = Log::default();
    run(async {
        let notes = log.clone();
        let task = create_task(async move {
            current_task().unwrap().cancel();
            notes.say("goes on");
            yield_now().await;
            notes.say("never");
        });
        assert!(task.await.unwrap_err().is_cancelled());
    });
    assert_eq!(log.take(), ["goes on"]);
}

#[test]
fn a_cancelled_task_that_returns_in_the_same_step_has_a_result() {
    run(async {
        let task = create_task(async {
            current_task().unwrap().cancel();
            7
        });
        assert_eq!(task.await.unwrap(), 7);
    });
}

#[test]
fn a_task_that_wakes_itself_takes_one_more_step_behind_what_it_has_made() {
    let log = Log::default();
    run(async {
        let notes = log.clone();
        let task = create_task(async move {
            let mut steps = 0;
            poll_fn(|cx| {
                steps += 1;
                notes.say(steps);
                if steps == 1 {
                    let waker = cx.waker().clone();
                    cx.waker().wake_by_ref();
                    drop(create_task({
                        let notes = notes.clone();
                        async move { notes.say("made") }
                    }));
                    waker.wake();
                    return Poll::Pending;
                }
                Poll::<()>::Pending
            })
            .await;
        });
        for _ in 0..5 {
            yield_now().await;
        }
        task.cancel();
    });
    assert_eq!(log.take(), ["1", "made", "2"]);
}

#[test]
fn a_task_that_wakes_itself_and_ends_leaves_no_step_to_the_next() {
    let log = Log::default();
    run(async {
        for _ in 0..2 {
            let notes = log.clone();
            let task = create_task(async move {
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                })
                .await;
                notes.say("end");
            });
            task.await.unwrap();
            // Has the place and the waker of the first.
            let notes = log.clone();
            let task = create_task(poll_fn(move |_| -> Poll<()> {
                notes.say("step");
                Poll::Pending
            }));
            for _ in 0..3 {
                yield_now().await;
            }
            task.cancel();
        }
    });
    assert_eq!(log.take(), ["end", "step", "end", "step"]);
}

#[test]
fn a_task_that_another_wakes_in_its_own_step_is_queued_at_once() {
    let log = Log::default();
    run(async {
        let sender = Rc::new(RefCell::new(None::<Waker>));
        let receiver = sender.clone();
        let notes = log.clone();
        let sleeper = create_task(async move {
            let mut woken = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut woken, true) {
                    return Poll::Ready(());
                }
                *sender.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            notes.say("sleeper");
        });
        yield_now().await;
        let notes = log.clone();
        let other = create_task(async move {
            if let Some(waker) = receiver.take() {
                waker.wake();
            }
            yield_now().await;
            notes.say("other");
        });
        sleeper.await.unwrap();
        other.await.unwrap();
    });
    assert_eq!(log.take(), ["sleeper", "other"]);
}

#[test]
fn who_awaits_a_task_takes_it_along() {
    run(async {
        let inner = create_task(pending::<()>());
        let watched = inner.task_ref().clone();
        let outer = create_task(async move { inner.await.is_ok() });
        yield_now().await;
        outer.cancel();
        assert!(outer.await.is_err());
        yield_now().await;
        assert!(watched.is_done());
    });
}

#[test]
fn who_looks_on_or_shields_does_not() {
    run(async {
        let mut inner = create_task(pending::<()>());
        let watched = inner.task_ref().clone();
        let looked = oxloop::timeout(Duration::from_millis(1), &mut inner).await;
        assert!(looked.is_err());
        let shielded = create_task(oxloop::shield(inner));
        yield_now().await;
        shielded.cancel();
        assert!(shielded.await.is_err());
        yield_now().await;
        assert!(!watched.is_done());
    });
}

#[test]
fn a_task_without_a_handle_goes_on() {
    let log = Log::default();
    run(async {
        let notes = log.clone();
        drop(create_task(async move {
            yield_now().await;
            notes.say("done");
        }));
        for _ in 0..3 {
            yield_now().await;
        }
    });
    assert_eq!(log.take(), ["done"]);
}

#[test]
fn tasks_have_names_and_are_listed() {
    run(async {
        let main = current_task().unwrap();
        assert!(main.is_current());
        let task = create_task(async { current_task().unwrap().name() });
        assert!(task.name().starts_with("Task-"));
        task.set_name("baker");
        let mut names: Vec<_> = oxloop::all_tasks().iter().map(|task| task.name()).collect();
        names.sort();
        assert_eq!(names, [main.name(), "baker".to_owned()]);
        assert_eq!(task.await.unwrap(), "baker");
        assert_eq!(oxloop::all_tasks(), [main]);
    });
}

#[test]
fn done_callbacks_are_called_in_the_turn_after() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let task = event_loop.create_task(async {}).unwrap();
    let notes = log.clone();
    task.add_done_callback(move |task| notes.say(task.is_done())).unwrap();
    turns(&event_loop, 1);
    assert!(task.is_done());
    assert_eq!(log.take(), [""; 0]);
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["true"]);
    let notes = log.clone();
    task.add_done_callback(move |_| notes.say("late")).unwrap();
    assert_eq!(log.take(), [""; 0]);
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["late"]);
}

#[test]
fn the_main_task_may_borrow_be_cancelled_and_be_left() {
    let event_loop = EventLoop::new();
    let words = String::from("a b c");
    let count = event_loop.run_until_complete(async { words.split(' ').count() });
    assert_eq!(count.unwrap(), 3);

    let cancelled = event_loop.run_until_complete(async {
        current_task().unwrap().cancel();
        pending::<()>().await;
    });
    assert!(matches!(cancelled, Err(Error::Task(error)) if error.is_cancelled()));

    let stopped = event_loop.run_until_complete(async {
        oxloop::get_running_loop().unwrap().stop();
        pending::<()>().await;
    });
    assert!(matches!(stopped, Err(Error::Stopped)));
}

#[test]
fn run_cancels_what_is_left() {
    let log = Log::default();
    let notes = log.clone();
    oxloop::run(async move {
        create_task(async move {
            let _guard = Dropped(notes, "cancelled");
            pending::<()>().await;
        });
        yield_now().await;
    })
    .unwrap();
    assert_eq!(log.take(), ["cancelled"]);
}

#[test]
fn a_waker_that_outlives_its_task_wakes_nobody() {
    run(async {
        let task =
            create_task(std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())));
        let waker = task.await.unwrap();
        // The place may have a new task by now.
        let next = create_task(pending::<()>());
        waker.wake_by_ref();
        yield_now().await;
        waker.wake();
        assert!(!next.is_done());
    });
}

#[test]
fn a_wake_up_behind_the_end_of_the_main_task_does_nothing() {
    let event_loop = EventLoop::new();
    let mut polls = 0;
    let result = event_loop.run_until_complete(std::future::poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls < 3 { std::task::Poll::Pending } else { std::task::Poll::Ready(polls) }
    }));
    assert_eq!(result.unwrap(), 3);
    turns(&event_loop, 1);
    assert_eq!(polls, 3);
}

#[test]
fn run_waits_for_tasks_that_the_ends_of_others_make() {
    struct Last(Log);
    impl Drop for Last {
        fn drop(&mut self) {
            let guard = Dropped(self.0.clone(), "made at the end");
            drop(create_task(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
        }
    }
    let log = Log::default();
    let last = Last(log.clone());
    oxloop::run(async move {
        drop(create_task(async move {
            let _last = last;
            pending::<()>().await;
        }));
        yield_now().await;
    })
    .unwrap();
    assert_eq!(log.take(), ["made at the end"]);
}
