//! What the tests share.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use oxloop::{ConnectOptions, EventLoop, Loop, Server, ServerOptions, Stream, get_running_loop};

/// Runs `future` on a loop of its own; a test that hangs fails instead.
#[track_caller]
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let limited = oxloop::timeout(Duration::from_secs(20), future);
    oxloop::run(limited).unwrap().expect("the test hangs")
}

/// What was said, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn say(&self, word: impl ToString) {
        self.0.borrow_mut().push(word.to_string());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// A callback that says `word`.
    pub(crate) fn saying(&self, word: &str) -> impl FnOnce() + use<> {
        let (log, word) = (self.clone(), word.to_string());
        move || log.say(word)
    }

    /// Notes what the exception handler is told.
    pub(crate) fn hear(&self, event_loop: &Loop) {
        let log = self.clone();
        event_loop.set_exception_handler(move |_, context| log.say(context));
    }
}

/// Runs everything that is ready, and what that makes ready, a few turns long.
pub(crate) fn turns(event_loop: &EventLoop, count: usize) {
    for _ in 0..count {
        event_loop.stop();
        event_loop.run_forever().unwrap();
    }
}

/// Panics. The type of the result is that of a function that may not.
pub(crate) fn fail(message: &str) {
    panic!("{message}");
}

/// Says that it was dropped.
pub(crate) struct Dropped(pub(crate) Log, pub(crate) &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.say(self.1);
    }
}

/// A server of `handler`, and a stream to it.
pub(crate) async fn connected<F, Fut>(handler: F) -> (Server, Stream)
where
    F: Fn(Stream) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let event_loop = get_running_loop().unwrap();
    let options = ServerOptions::default();
    let server = event_loop.start_server(handler, "127.0.0.1", 0, options).await.unwrap();
    let port = server.local_addrs()[0].port();
    let stream = event_loop.open_connection("127.0.0.1", port, ConnectOptions::default()).await;
    (server, stream.unwrap())
}
