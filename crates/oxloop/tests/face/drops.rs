//! Nothing is left of a loop that is dropped, whatever refers to what.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use oxloop::{EventLoop, get_running_loop, sleep, yield_now};

use crate::support::{Dropped, Log, run, turns};

#[test]
fn what_was_scheduled_is_dropped_with_the_loop() {
    let log = Log::default();
    let event_loop = EventLoop::new();
    let handle = event_loop.handle();
    let guard = |word| (Dropped(log.clone(), word), handle.clone());
    let (soon, later, reader, task) =
        (guard("soon"), guard("later"), guard("reader"), guard("task"));
    event_loop.call_soon(move || drop(soon)).unwrap();
    event_loop.call_later(Duration::from_secs(60), move || drop(later)).unwrap();
    let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
    event_loop
        .add_reader(&one, move || {
            let _ = &reader;
        })
        .unwrap();
    let _task = event_loop
        .create_task(async move {
            let _guard = task;
            sleep(Duration::from_secs(60)).await;
        })
        .unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["soon"]);
    drop(event_loop);
    let mut said = log.take();
    said.sort();
    assert_eq!(said, ["later", "reader", "task"]);
}

#[test]
fn circles_of_tasks_and_futures_are_cut() {
    let log = Log::default();
    let event_loop = EventLoop::new();
    let future = event_loop.create_future::<()>();
    let guard = Dropped(log.clone(), "dropped");
    // The future holds the task's waker, the task holds the future and itself.
    let task = event_loop
        .create_task({
            let future = future.clone();
            async move {
                let _guard = (guard, get_running_loop(), oxloop::current_task());
                drop(future.await);
            }
        })
        .unwrap();
    drop(task);
    turns(&event_loop, 1);
    drop(event_loop);
    assert_eq!(log.take(), ["dropped"]);
    assert!(!future.is_done());
}

#[test]
fn what_drops_run_finds_a_closed_loop() {
    struct Busy(oxloop::Loop, Log);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.1.say(self.0.call_soon(|| ()).is_err());
            self.1.say(self.0.create_task(async {}).is_err());
            self.1.say(self.0.remote().call_soon_threadsafe(|| ()).is_err());
        }
    }
    let log = Log::default();
    let event_loop = EventLoop::new();
    let (one, two) =
        (Busy(event_loop.handle(), log.clone()), Busy(event_loop.handle(), log.clone()));
    event_loop.call_soon(move || drop(one)).unwrap();
    drop(event_loop.create_task(async move {
        let _two = two;
        pending::<()>().await;
    }));
    event_loop.close().unwrap();
    assert_eq!(log.take(), ["true"; 6]);
}

#[test]
fn tasks_that_end_leave_nothing() {
    let token = Rc::new(());
    run(async {
        for _ in 0..50 {
            let held = token.clone();
            drop(oxloop::create_task(async move {
                yield_now().await;
                held
            }));
            let held = token.clone();
            oxloop::create_task(async move { drop(held) }).await.unwrap();
        }
        yield_now().await;
        yield_now().await;
        assert_eq!(Rc::strong_count(&token), 1);
    });
}

#[test]
fn a_handle_outlives_the_loop() {
    let event_loop = EventLoop::new();
    let mut task = event_loop.create_task(pending::<()>()).unwrap();
    drop(event_loop);
    assert!(task.is_done());
    assert!(task.take_result().unwrap().unwrap_err().is_cancelled());
    assert!(!task.cancel());
}

/// Whether the other end of a socket is closed.
fn is_closed(mut socket: impl std::io::Read) -> bool {
    socket.read(&mut [0; 8]).unwrap() == 0
}

#[test]
fn no_descriptor_outlives_the_loop() {
    let event_loop = EventLoop::new();
    let pair = || std::os::unix::net::UnixStream::pair().unwrap();
    let ((one, theirs), (two, others), (reader, writer)) =
        (pair(), pair(), std::io::pipe().unwrap());
    let stream = event_loop.run_until_complete(event_loop.open_socket(one)).unwrap().unwrap();
    let kept = stream.transport();
    let reading = event_loop.create_task(async move {
        let mut stream = stream;
        drop(futures_lite::AsyncReadExt::read(&mut stream, &mut [0]).await);
    });
    struct Deaf;
    impl oxloop::Protocol for Deaf {
        fn data_received(&mut self, _: &oxloop::Transport, _: &[u8]) {}
    }
    let opening = event_loop.connect_accepted_socket(|| Deaf, two, Default::default());
    let transport = event_loop.run_until_complete(opening).unwrap().unwrap();
    let pipe = event_loop.connect_write_pipe(|| Deaf, writer).unwrap();
    turns(&event_loop, 2);
    drop(event_loop);
    assert!(is_closed(theirs) && is_closed(others) && is_closed(reader));
    assert!([kept, transport, pipe].iter().all(oxloop::Transport::is_closing));
    drop(reading);
}

#[test]
fn a_connection_that_is_given_up_is_closed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let task = oxloop::create_task(async move {
            let stream = event_loop.open_connection("127.0.0.1", port, Default::default()).await;
            pending::<()>().await;
            drop(stream);
        });
        for _ in 0..3 {
            yield_now().await;
        }
        let (socket, _) = listener.accept().unwrap();
        task.cancel();
        assert!(task.await.is_err());
        assert!(is_closed(socket));
    });
}
