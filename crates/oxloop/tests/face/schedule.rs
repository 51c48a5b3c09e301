use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oxloop::{Error, EventLoop};

use crate::support::{Log, turns};

#[test]
fn callbacks_run_in_their_order_and_what_they_schedule_in_the_next_turn() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let (handle, later) = (event_loop.handle(), log.clone());
    event_loop
        .call_soon(move || {
            later.say("first");
            handle.call_soon(later.saying("third")).unwrap();
        })
        .unwrap();
    event_loop.call_soon(log.saying("second")).unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["first", "second"]);
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["third"]);
}

#[test]
fn timers_run_in_the_order_of_their_times() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let now = event_loop.time();
    let handle = event_loop.handle();
    let millis = |count| now + Duration::from_millis(count);
    event_loop.call_at(millis(4), move || handle.stop()).unwrap();
    event_loop.call_at(millis(2), log.saying("b")).unwrap();
    event_loop.call_at(millis(2), log.saying("c")).unwrap();
    event_loop.call_at(millis(1), log.saying("a")).unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(log.take(), ["a", "b", "c"]);
}

#[test]
fn timers_are_never_early() {
    let event_loop = EventLoop::new();
    for micros in [1, 50, 333, 1_000, 2_718] {
        let early = Rc::new(Cell::new(None));
        let (note, handle) = (early.clone(), event_loop.handle());
        let when = Instant::now() + Duration::from_micros(micros);
        let timer = event_loop.call_at(when, move || {
            note.set(Some(Instant::now() < when));
            handle.stop();
        });
        assert_eq!(timer.unwrap().when(), when);
        event_loop.run_forever().unwrap();
        assert_eq!(early.get(), Some(false));
    }
}

#[test]
fn times_beyond_the_clock_and_before_its_beginning_are_taken() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let far = event_loop.call_later(Duration::MAX, log.saying("far")).unwrap();
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
    event_loop.call_at(past, log.saying("past")).unwrap();
    turns(&event_loop, 2);
    assert_eq!(log.take(), ["past"]);
    assert!(far.is_pending());
}

#[test]
fn what_is_cancelled_is_not_called() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let soon = event_loop.call_soon(log.saying("soon")).unwrap();
    let later = event_loop.call_later(Duration::ZERO, log.saying("later")).unwrap();
    assert!(soon.is_pending() && later.is_pending());
    assert!(soon.cancel() && later.cancel());
    assert!(!soon.cancel() && !later.cancel());
    assert!(!soon.is_pending() && !later.is_pending());
    let kept = event_loop.call_soon(log.saying("kept")).unwrap();
    turns(&event_loop, 2);
    assert_eq!(log.take(), ["kept"]);
    assert!(!kept.cancel());
}

#[test]
fn stop_ends_the_run_after_the_turn() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let handle = event_loop.handle();
    event_loop.call_soon(move || handle.stop()).unwrap();
    event_loop.call_soon(log.saying("same turn")).unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(log.take(), ["same turn"]);
    assert!(!event_loop.is_running());
}

#[test]
fn one_loop_runs_at_a_time_in_a_thread() {
    let event_loop = Rc::new(EventLoop::new());
    let log = Log::default();
    let (again, notes) = (event_loop.clone(), log.clone());
    event_loop
        .call_soon(move || {
            notes.say(matches!(again.run_forever(), Err(Error::Running)));
            notes.say(matches!(again.close(), Err(Error::Running)));
            notes.say(matches!(oxloop::run(async {}), Err(Error::Running)));
            notes.say(again.is_running());
            again.stop();
        })
        .unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(log.take(), ["true"; 4]);
}

#[test]
fn a_closed_loop_takes_nothing() {
    let event_loop = EventLoop::new();
    let handle = event_loop.handle();
    event_loop.close().unwrap();
    event_loop.close().unwrap();
    assert!(handle.is_closed());
    assert!(matches!(handle.call_soon(|| ()), Err(Error::Closed)));
    assert!(matches!(handle.call_later(Duration::ZERO, || ()), Err(Error::Closed)));
    assert!(matches!(handle.create_task(async {}), Err(Error::Closed)));
    assert!(matches!(handle.add_reader(&0, || ()), Err(Error::Closed)));
    assert!(matches!(handle.add_signal_handler(10, || ()), Err(Error::Closed)));
    assert!(matches!(handle.run_in_executor(|| ()), Err(Error::Closed)));
    assert!(matches!(handle.remote().call_soon_threadsafe(|| ()), Err(Error::Closed)));
    assert!(matches!(event_loop.run_forever(), Err(Error::Closed)));
    assert!(matches!(event_loop.run_until_complete(async {}), Err(Error::Closed)));
    handle.stop();
}

#[test]
fn the_running_loop_is_known() {
    assert!(oxloop::get_running_loop().is_none());
    let event_loop = EventLoop::new();
    let log = Log::default();
    let notes = log.clone();
    event_loop
        .call_soon(move || notes.say(oxloop::get_running_loop().unwrap().is_running()))
        .unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["true"]);
    assert!(oxloop::get_running_loop().is_none());
}

#[test]
fn slow_callbacks_are_named_in_debug_mode() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    log.hear(&event_loop);
    event_loop.set_slow_callback_duration(Duration::ZERO);
    event_loop.call_soon(|| ()).unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), [""; 0]);
    event_loop.set_debug(true);
    event_loop.call_soon(|| ()).unwrap();
    let _task = event_loop.create_task(async {}).unwrap();
    turns(&event_loop, 1);
    let said = log.take();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("slow_callbacks_are_named") && said[0].contains("schedule.rs"));
    assert!(said[1].contains("Task-1"), "{said:?}");
}
