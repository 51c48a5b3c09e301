use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use oxloop::{Error, EventLoop, Hints, TaskError, get_running_loop};

use crate::support::{fail, run};

#[test]
fn work_runs_on_another_thread() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let here = thread::current().id();
        let there = event_loop.run_in_executor(|| thread::current().id()).unwrap().await.unwrap();
        assert_ne!(here, there);
    });
}

#[test]
fn work_that_panics_is_an_error() {
    run(async {
        let work = get_running_loop().unwrap().run_in_executor(|| fail("work"));
        match work.unwrap().await {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "work"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn shutting_down_finishes_what_runs_and_cancels_what_waits() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let (started, starting) = mpsc::channel();
        let (release, hold) = mpsc::channel::<()>();
        let work = event_loop.run_in_executor(move || {
            started.send(()).unwrap();
            hold.recv().unwrap();
            5
        });
        let work = work.unwrap();
        starting.recv().unwrap();
        let ending = oxloop::create_task({
            let event_loop = event_loop.clone();
            async move { event_loop.shutdown_default_executor().await }
        });
        oxloop::yield_now().await;
        assert!(!ending.is_done());
        assert!(matches!(event_loop.run_in_executor(|| ()), Err(Error::Closed)));
        release.send(()).unwrap();
        ending.await.unwrap();
        assert_eq!(work.await.unwrap(), 5);
    });
}

#[test]
fn forgotten_work_that_has_not_begun_is_dropped() {
    let event_loop = EventLoop::new();
    let most = thread::available_parallelism().map_or(1, usize::from) + 4;
    let (release, hold) = mpsc::channel::<()>();
    let hold = Arc::new(std::sync::Mutex::new(hold));
    let busy: Vec<_> = (0..most.min(32))
        .map(|_| {
            let hold = hold.clone();
            event_loop.run_in_executor(move || hold.lock().unwrap().recv().is_ok()).unwrap()
        })
        .collect();
    let begun = Arc::new(AtomicBool::new(false));
    let note = begun.clone();
    drop(event_loop.run_in_executor(move || note.store(true, Ordering::Relaxed)).unwrap());
    assert_eq!(Arc::strong_count(&begun), 1);
    drop(release);
    event_loop.run_until_complete(oxloop::gather(busy)).unwrap();
    event_loop.run_until_complete(event_loop.shutdown_default_executor()).unwrap();
    assert!(!begun.load(Ordering::Relaxed));
}

#[test]
fn names_are_looked_up() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let found = event_loop.getaddrinfo(Some("localhost"), Some("80"), Hints::default()).await;
        assert!(found.unwrap().iter().all(|found| found.address.ip().is_loopback()));
        let refused = event_loop.getaddrinfo(Some("a\0b"), None, Hints::default()).await;
        assert!(refused.is_err());
        let numeric = 1 | 2;
        let names = event_loop.getnameinfo("127.0.0.1:80".parse().unwrap(), numeric).await;
        assert_eq!(names.unwrap(), ("127.0.0.1".to_owned(), "80".to_owned()));
    });
}
