//! Scenarios without a network.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::cpu;

/// What the scenarios need of a runtime.
trait Runtime {
    fn block_on<T>(future: impl Future<Output = T>) -> T;
    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()>;
    fn sleep(delay: Duration) -> impl Future<Output = ()>;
    fn yield_now() -> impl Future<Output = ()>;
}

struct Oxloop;

impl Runtime for Oxloop {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        oxloop::run(future).unwrap()
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> {
        let task = oxloop::create_task(future);
        async move { task.await.unwrap() }
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> {
        oxloop::sleep(delay)
    }

    fn yield_now() -> impl Future<Output = ()> {
        oxloop::yield_now()
    }
}

struct Tokio;

impl Runtime for Tokio {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, future)
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> {
        let task = tokio::task::spawn_local(future);
        async move { task.await.unwrap() }
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(delay)
    }

    fn yield_now() -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }
}

/// Nanoseconds per operation.
pub fn measure(runtime: &str, scenario: &str) -> f64 {
    match runtime {
        "oxloop" => run::<Oxloop>(scenario),
        // Tasks that are Send, without a LocalSet.
        "tokio" if scenario == "spawn-send" => tokio_send(false),
        "tokio" if scenario == "yield-send" => tokio_send(true),
        _ => run::<Tokio>(scenario),
    }
}

fn run<R: Runtime>(scenario: &str) -> f64 {
    let (operations, nanos) = R::block_on(async {
        let begin = cpu();
        let operations = match scenario {
            "spawn" | "spawn-send" => spawn::<R>().await,
            "spawn-each" => spawn_each::<R>().await,
            "yield" | "yield-send" => yields::<R>(1).await,
            "yield-100" => yields::<R>(100).await,
            "wake" => wakes::<R>().await,
            "timer" => timers::<R>().await,
            "sleep" => sleeps::<R>().await,
            "thread" => threads().await,
            _ => panic!("no such scenario"),
        };
        (operations, cpu() - begin)
    });
    nanos as f64 / operations as f64
}

/// Tasks by the thousand, awaited.
async fn spawn<R: Runtime>() -> u64 {
    let mut tasks = Vec::with_capacity(1000);
    for _ in 0..1000 {
        for _ in 0..1000 {
            tasks.push(R::spawn(async {}));
        }
        for task in tasks.drain(..) {
            task.await;
        }
    }
    1_000_000
}

/// A task, awaited, and the next.
async fn spawn_each<R: Runtime>() -> u64 {
    for _ in 0..500_000 {
        R::spawn(async {}).await;
    }
    500_000
}

/// Each runtime's own `yield_now`, in several tasks.
async fn yields<R: Runtime>(tasks: u64) -> u64 {
    let each = 1_000_000 / tasks;
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            R::spawn(async move {
                for _ in 0..each {
                    R::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    1_000_000
}

/// Tasks that wake themselves, ten at a time.
async fn wakes<R: Runtime>() -> u64 {
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            R::spawn(async {
                for _ in 0..100_000 {
                    let mut woken = false;
                    poll_fn(|cx| {
                        if std::mem::replace(&mut woken, true) {
                            return Poll::Ready(());
                        }
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    1_000_000
}

/// Timers that are made and forgotten, as timeouts are.
async fn timers<R: Runtime>() -> u64 {
    for _ in 0..1000 {
        for _ in 0..1000 {
            let mut sleep = pin!(R::sleep(Duration::from_secs(30)));
            poll_fn(|cx| {
                assert!(sleep.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        R::yield_now().await;
    }
    1_000_000
}

/// A thousand tasks that sleep, a millisecond at a time.
async fn sleeps<R: Runtime>() -> u64 {
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            R::spawn(async {
                for _ in 0..200 {
                    R::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    200_000
}

#[derive(Default)]
struct Ball {
    here: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// A ball that goes to another thread and back, which wakes the loop.
async fn threads() -> u64 {
    let ball = Arc::new(Ball::default());
    let (throw, catch) = mpsc::channel::<()>();
    let other = ball.clone();
    let thread = std::thread::spawn(move || {
        while catch.recv().is_ok() {
            other.here.store(true, Ordering::Release);
            let waker = other.waker.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    });
    for _ in 0..50_000 {
        throw.send(()).unwrap();
        poll_fn(|cx| {
            *ball.waker.lock().unwrap() = Some(cx.waker().clone());
            if ball.here.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    drop(throw);
    thread.join().unwrap();
    50_000
}

fn tokio_send(yields: bool) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nanos = runtime.block_on(async {
        let begin = cpu();
        if yields {
            let task = tokio::spawn(async {
                for _ in 0..1_000_000 {
                    tokio::task::yield_now().await;
                }
            });
            task.await.unwrap();
            return cpu() - begin;
        }
        let mut tasks = Vec::with_capacity(1000);
        for _ in 0..1000 {
            for _ in 0..1000 {
                tasks.push(tokio::spawn(async {}));
            }
            for task in tasks.drain(..) {
                task.await.unwrap();
            }
        }
        cpu() - begin
    });
    nanos as f64 / 1_000_000.0
}
