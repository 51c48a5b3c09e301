use oxloop::{Error, EventLoop, TaskError, create_task, yield_now};

use crate::support::{Log, fail, run, turns};

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_callback_that_panics_is_told_and_the_loop_goes_on() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    log.hear(&event_loop);
    event_loop.call_soon(|| panic!("first")).unwrap();
    event_loop.call_soon(log.saying("second")).unwrap();
    turns(&event_loop, 1);
    let said = log.take();
    assert!(said[0].contains("panicked: first") && said[0].contains("panics.rs"), "{said:?}");
    assert_eq!(said[1], "second");
}

#[test]
fn a_task_that_panics_ends_with_that() {
    run(async {
        let task = create_task(async { fail("why not") });
        match task.await {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "why not"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_panic_that_nobody_awaits_is_told() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    log.hear(&event_loop);
    drop(event_loop.create_task(async { panic!("alone") }).unwrap());
    turns(&event_loop, 1);
    let said = log.take();
    assert!(said[0].contains("alone") && said[0].contains("Task-1"), "{said:?}");

    let late = event_loop.create_task(async { panic!("late") }).unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), [""; 0]);
    drop(late);
    assert!(log.take()[0].contains("late"));
}

#[test]
fn the_main_future_may_panic() {
    let event_loop = EventLoop::new();
    let result = event_loop.run_until_complete(async { fail("main") });
    let Err(Error::Task(TaskError::Panicked(panic))) = result else { panic!("no panic") };
    assert_eq!(panic.message(), "main");
    assert_eq!(event_loop.run_until_complete(async { 1 }).unwrap(), 1);
}

#[test]
fn a_future_that_panics_when_it_is_dropped_is_a_failed_task() {
    run(async {
        let task = create_task(async {
            let _grenade = Grenade;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.cancel();
        assert!(matches!(task.await, Err(TaskError::Panicked(_))));
    });
}

#[test]
fn a_handler_that_panics_harms_nobody() {
    let event_loop = EventLoop::new();
    event_loop.set_exception_handler(|_, _| panic!("handler"));
    let log = Log::default();
    event_loop.call_soon(|| panic!("callback")).unwrap();
    event_loop.call_soon(log.saying("on")).unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["on"]);
}

#[test]
fn results_and_callbacks_that_panic_when_they_are_dropped_are_told() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    log.hear(&event_loop);
    drop(event_loop.create_task(async { Grenade }).unwrap());
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["A destructor failed: panicked: dropped"]);
    let (one, two) = (Grenade, Grenade);
    event_loop.call_soon(move || drop(one)).unwrap();
    event_loop.call_soon(move || drop(two)).unwrap();
    event_loop.call_soon(log.saying("never")).unwrap();
    drop(event_loop);
    assert_eq!(log.take(), ["A destructor failed: panicked: dropped"; 2]);
}
