use std::io;
use std::time::Duration;

use oxloop::future::{FutureError, InvalidState};
use oxloop::{EventLoop, create_task, get_running_loop, timeout, yield_now};

use crate::support::{Log, run, turns};

#[test]
fn everybody_who_awaits_gets_the_result() {
    run(async {
        let future = get_running_loop().unwrap().create_future::<u32>();
        let waiting: Vec<_> = (0..3).map(|_| create_task(future.clone())).collect();
        yield_now().await;
        assert_eq!(future.result().unwrap_err(), InvalidState);
        future.set_result(5).unwrap();
        assert_eq!(future.set_result(6), Err(InvalidState));
        assert!(!future.cancel());
        for task in waiting {
            assert_eq!(task.await.unwrap().unwrap(), 5);
        }
        assert_eq!(future.await.unwrap(), 5);
    });
}

#[test]
fn errors_and_cancellation_arrive() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let failed = event_loop.create_future::<()>();
        failed.set_exception(io::Error::other("broken")).unwrap();
        assert_eq!(failed.await.unwrap_err().to_string(), "broken");
        let cancelled = event_loop.create_future::<()>();
        assert!(cancelled.cancel() && cancelled.is_cancelled());
        assert!(matches!(cancelled.await, Err(FutureError::Cancelled)));
    });
}

#[test]
fn callbacks_run_in_the_next_turn() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let future = event_loop.create_future::<u8>();
    let notes = log.clone();
    future.add_done_callback(move |future| notes.say(future.result().unwrap().unwrap())).unwrap();
    future.set_result(3).unwrap();
    assert_eq!(log.take(), [""; 0]);
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["3"]);
}

#[test]
fn who_gave_up_is_not_woken() {
    run(async {
        let future = get_running_loop().unwrap().create_future::<u8>();
        assert!(timeout(Duration::from_millis(1), future.clone()).await.is_err());
        future.set_result(1).unwrap();
    });
}
