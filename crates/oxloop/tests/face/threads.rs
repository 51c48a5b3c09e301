use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use oxloop::EventLoop;

use crate::support::run;

#[test]
fn calls_of_a_thread_arrive_in_order_and_none_is_lost() {
    const THREADS: usize = 4;
    const CALLS: usize = 2_000;
    let event_loop = EventLoop::new();
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (remote, sender) = (event_loop.remote(), sender.clone());
            thread::spawn(move || {
                for call in 0..CALLS {
                    let sender = sender.clone();
                    let post = move || {
                        sender.send((thread, call)).unwrap();
                    };
                    remote.call_soon_threadsafe(post).unwrap();
                }
            })
        })
        .collect();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    event_loop
        .run_until_complete(async move {
            let mut next = [0; THREADS];
            while count.fetch_add(0, Ordering::Relaxed) < THREADS * CALLS {
                while let Ok((thread, call)) = receiver.try_recv() {
                    assert_eq!(next[thread], call);
                    next[thread] += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                oxloop::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(seen.load(Ordering::Relaxed), THREADS * CALLS);
}

#[test]
fn a_waker_wakes_from_another_thread() {
    for _ in 0..200 {
        let shared = Arc::new(Mutex::new((false, None::<Waker>)));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            let waker = {
                let mut shared = other.lock().unwrap();
                shared.0 = true;
                shared.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        run(std::future::poll_fn(|cx| {
            let mut shared = shared.lock().unwrap();
            if shared.0 {
                return Poll::Ready(());
            }
            shared.1 = Some(cx.waker().clone());
            Poll::Pending
        }));
        thread.join().unwrap();
    }
}

#[test]
fn a_remote_outlives_the_loop() {
    let remote = EventLoop::new().remote();
    assert!(remote.is_closed());
    assert!(thread::spawn(move || remote.call_soon_threadsafe(|| ())).join().unwrap().is_err());
}

#[test]
fn wakers_may_be_dropped_and_used_anywhere_after_the_loop() {
    let event_loop = EventLoop::new();
    let (sender, receiver) = mpsc::channel();
    let task = event_loop.create_task(std::future::poll_fn(move |cx| {
        sender.send(cx.waker().clone()).unwrap();
        Poll::<()>::Pending
    }));
    event_loop.stop();
    event_loop.run_forever().unwrap();
    drop((event_loop, task));
    let waker = receiver.recv().unwrap();
    thread::spawn(move || waker.wake()).join().unwrap();
}
