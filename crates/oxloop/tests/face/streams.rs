use std::io;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use oxloop::{Stream, create_task, timeout};

use crate::support::{connected, run};

async fn echo(mut stream: Stream) {
    let mut buffer = [0; 1000];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => stream.write_all(&buffer[..count]).await.unwrap(),
        }
    }
}

#[test]
fn much_is_echoed_by_halves() {
    run(async {
        let (server, stream) = connected(echo).await;
        let data: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7) as u8).collect();
        let (mut reader, mut writer) = stream.split();
        let sent = data.clone();
        let sending = create_task(async move {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        sending.await.unwrap();
        assert!(got == data);
        drop(reader);
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn the_end_is_read_and_dropping_says_it() {
    run(async {
        let (_server, mut stream) = connected(|mut stream: Stream| async move {
            stream.write_all(b"bye").await.unwrap();
        })
        .await;
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "bye");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn data_that_nobody_reads_waits_and_is_not_lost() {
    run(async {
        let (_server, mut stream) = connected(|mut stream: Stream| async move {
            for _ in 0..20 {
                stream.write_all(b"0123456789").await.unwrap();
                oxloop::sleep(Duration::from_micros(300)).await;
            }
        })
        .await;
        oxloop::sleep(Duration::from_millis(5)).await;
        let mut all = Vec::new();
        let mut byte = [0; 3];
        while let count @ 1.. = stream.read(&mut byte).await.unwrap() {
            all.extend_from_slice(&byte[..count]);
        }
        assert_eq!(all.len(), 200);
    });
}

#[test]
fn reading_may_be_given_up_and_taken_up() {
    run(async {
        let (_server, mut stream) = connected(echo).await;
        let mut buffer = [0; 16];
        assert!(timeout(Duration::from_millis(1), stream.read(&mut buffer)).await.is_err());
        stream.write_all(b"later").await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
        // By a future in between, whose waker is not the task's.
        stream.write_all(b"race").await.unwrap();
        let either = future::or(
            async { stream.read(&mut buffer).await.unwrap() },
            std::future::pending::<usize>(),
        );
        assert_eq!(create_task_and_wait(either).await, 4);
    });
}

/// Awaits `future` with a waker that is not the task's own.
async fn create_task_and_wait<F: Future>(future: F) -> F::Output {
    struct Other(std::task::Waker);
    impl std::task::Wake for Other {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let waker = std::sync::Arc::new(Other(cx.waker().clone())).into();
        future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
    })
    .await
}

#[test]
fn a_writer_waits_for_a_slow_reader() {
    run(async {
        let (_server, mut stream) = connected(|mut stream: Stream| async move {
            // Reads nothing for a while.
            oxloop::sleep(Duration::from_millis(5)).await;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(all.len().to_string().as_bytes()).await.unwrap();
        })
        .await;
        let piece = vec![b'x'; 100_000];
        let mut waited = false;
        for _ in 0..100 {
            waited |= stream.transport().write_buffer_size() > 65_536;
            stream.write_all(&piece).await.unwrap();
            assert!(stream.transport().write_buffer_size() < 1_000_000);
        }
        assert!(waited);
        stream.close().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "10000000");
    });
}

#[test]
fn a_connection_that_is_lost_fails_both_halves() {
    run(async {
        let (_server, mut stream) = connected(|stream: Stream| async move {
            stream.transport().abort();
        })
        .await;
        let mut buffer = [0; 8];
        let read = stream.read(&mut buffer).await;
        assert!(matches!(read, Ok(0)) || read.is_err());
        while stream.write(b"x").await.is_ok() {
            oxloop::yield_now().await;
        }
        let error = stream.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}
