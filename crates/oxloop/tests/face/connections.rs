use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use oxloop::{
    Buffered, BufferedProtocol, ConnectOptions, Limits, Protocol, Server, ServerOptions, Transport,
    get_running_loop, yield_now,
};

use crate::support::{Dropped, Log, run};

/// Says what it is told.
pub(crate) struct Talker {
    pub(crate) log: Log,
    /// What `eof_received` answers.
    pub(crate) keeps: bool,
}

impl Talker {
    pub(crate) fn new(log: &Log) -> Talker {
        Talker { log: log.clone(), keeps: false }
    }
}

impl Protocol for Talker {
    fn connection_made(&mut self, _: &Transport) {
        self.log.say("made");
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.log.say(String::from_utf8_lossy(data));
    }

    fn eof_received(&mut self, _: &Transport) -> bool {
        self.log.say("eof");
        self.keeps
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.log.say("pause");
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.log.say("resume");
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<&io::Error>) {
        match error {
            Some(error) => self.log.say(format!("lost: {:?}", error.kind())),
            None => self.log.say("lost"),
        }
    }
}

/// Does something with what it receives.
pub(crate) struct Doing<F>(pub(crate) F);

impl<F: FnMut(&Transport, &[u8]) + 'static> Protocol for Doing<F> {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        (self.0)(transport, data);
    }
}

/// A server of `factory`, and a connection of `client` to it.
pub(crate) async fn pair<P, C>(factory: impl Fn() -> P + 'static, client: C) -> (Server, Transport)
where
    P: oxloop::IntoProtocol,
    C: oxloop::IntoProtocol,
{
    let event_loop = get_running_loop().unwrap();
    let options = ServerOptions::default();
    let server = event_loop.create_server(factory, Some("127.0.0.1"), 0, options).await.unwrap();
    let port = server.local_addrs()[0].port();
    let options = ConnectOptions::default();
    let client = event_loop.create_connection(|| client, "127.0.0.1", port, options).await;
    (server, client.unwrap())
}

/// Lets the loop run until `log` has `count` entries or more.
pub(crate) async fn until(log: &Log, count: usize) -> Vec<String> {
    let mut all = log.take();
    while all.len() < count {
        oxloop::sleep(std::time::Duration::from_micros(200)).await;
        all.extend(log.take());
    }
    all
}

fn echo() -> impl Protocol {
    Doing(|transport: &Transport, data: &[u8]| transport.write(data))
}

#[test]
fn bytes_go_there_and_back() {
    let log = Log::default();
    run(async {
        let (_server, client) = pair(echo, Talker::new(&log)).await;
        assert_eq!(log.take(), ["made"]);
        client.write(b"hel");
        client.write(b"");
        client.write_vec(b"lo".to_vec());
        assert_eq!(until(&log, 1).await, ["hello"]);
        client.close();
        assert!(client.is_closing());
        // Not inside of the call.
        assert_eq!(log.take(), [""; 0]);
        assert_eq!(until(&log, 1).await, ["lost"]);
        client.write(b"nobody hears");
        client.abort();
        yield_now().await;
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn large_data_arrives_complete_with_flow_control() {
    let log = Log::default();
    let got = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let place = got.clone();
        let sink = move || {
            let place = place.clone();
            Doing(move |_: &Transport, data: &[u8]| place.borrow_mut().extend_from_slice(data))
        };
        let (server, client) = pair(sink, Talker::new(&log)).await;
        client.set_write_buffer_limits(Limits { low: 1000, high: 10_000 });
        let data: Vec<u8> = (0..8_000_000_u32).map(|number| (number / 3) as u8).collect();
        let (first, second) = data.split_at(5_000_000);
        client.write(first);
        client.write_vec(second.to_vec());
        assert!(client.write_buffer_size() > 0);
        assert_eq!(log.take(), ["made", "pause"]);
        client.close();
        assert_eq!(until(&log, 2).await, ["resume", "lost"]);
        server.close();
        server.wait_closed().await;
        assert!(*got.borrow() == data);
    });
}

#[test]
fn a_protocol_is_told_to_pause_when_it_returns() {
    let log = Log::default();
    run(async {
        let notes = log.clone();
        struct Flood(Log);
        impl Protocol for Flood {
            fn data_received(&mut self, transport: &Transport, _: &[u8]) {
                transport.write_vec(vec![b'x'; 10_000_000]);
                self.0.say("written");
            }
            fn pause_writing(&mut self, _: &Transport) {
                self.0.say("pause");
            }
            fn resume_writing(&mut self, transport: &Transport) {
                self.0.say("resume");
                transport.close();
            }
        }
        let (_server, client) = pair(move || Flood(notes.clone()), Doing(|_: &_, _: &_| ())).await;
        client.write(b"go");
        assert_eq!(until(&log, 3).await, ["written", "pause", "resume"]);
    });
}

#[test]
fn the_end_is_told_and_writing_may_go_on() {
    let (log, client_log) = (Log::default(), Log::default());
    run(async {
        let notes = log.clone();
        struct Late(Talker);
        impl Protocol for Late {
            fn data_received(&mut self, transport: &Transport, data: &[u8]) {
                self.0.data_received(transport, data);
            }
            fn eof_received(&mut self, transport: &Transport) -> bool {
                self.0.eof_received(transport);
                transport.write(b"after the end");
                transport.close();
                true
            }
            fn connection_lost(&mut self, transport: &Transport, error: Option<&io::Error>) {
                self.0.connection_lost(transport, error);
            }
        }
        let (_server, client) =
            pair(move || Late(Talker::new(&notes)), Talker::new(&client_log)).await;
        assert!(client.can_write_eof());
        client.write(b"question");
        client.write_eof();
        client.write(b"unsent");
        assert_eq!(until(&log, 3).await, ["question", "eof", "lost"]);
        assert_eq!(until(&client_log, 4).await, ["made", "after the end", "eof", "lost"]);
    });
}

#[test]
fn nothing_is_delivered_while_reading_is_paused() {
    let log = Log::default();
    run(async {
        let (_server, client) = pair(echo, Talker::new(&log)).await;
        client.pause_reading();
        assert!(!client.is_reading());
        client.write(b"x");
        for _ in 0..50 {
            yield_now().await;
        }
        assert_eq!(log.take(), ["made"]);
        client.resume_reading();
        assert_eq!(until(&log, 1).await, ["x"]);
    });
}

#[test]
fn a_protocol_that_panics_loses_its_connection() {
    let log = Log::default();
    run(async {
        log.hear(&get_running_loop().unwrap());
        let clumsy = || Doing(|_: &Transport, _: &[u8]| panic!("clumsy"));
        let (server, client) = pair(clumsy, Talker::new(&log)).await;
        client.write(b"x");
        let said = until(&log, 4).await;
        assert_eq!(said[0], "made");
        assert!(said[1].contains("data_received") && said[1].contains("clumsy"), "{said:?}");
        assert_eq!(said[2..], ["eof", "lost"]);
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_buffered_protocol_reads_into_its_own_memory() {
    let log = Log::default();
    run(async {
        struct Own(Log, [u8; 4]);
        impl BufferedProtocol for Own {
            fn get_buffer(&mut self) -> &mut [u8] {
                &mut self.1
            }
            fn buffer_updated(&mut self, _: &Transport, count: usize) {
                self.0.say(String::from_utf8_lossy(&self.1[..count]));
            }
            fn connection_lost(&mut self, _: &Transport, _: Option<&io::Error>) {
                self.0.say("lost");
            }
        }
        let notes = log.clone();
        let (_server, client) =
            pair(move || Buffered(Own(notes.clone(), [0; 4])), Doing(|_: &_, _: &_| ())).await;
        client.write(b"abcdefghij");
        client.close();
        assert_eq!(until(&log, 4).await, ["abcd", "efgh", "ij", "lost"]);
    });
}

#[test]
fn the_protocol_can_be_changed_and_visited() {
    let log = Log::default();
    run(async {
        let (_server, client) = pair(echo, Talker::new(&log)).await;
        let keeps = client.with_protocol(|talker: &mut Talker| talker.keeps);
        assert_eq!(keeps, Some(false));
        assert_eq!(client.with_protocol(|_: &mut String| ()), None);
        let (guard, notes) = (Dropped(log.clone(), "dropped"), log.clone());
        client.set_protocol(Doing(move |transport: &Transport, data: &[u8]| {
            let _ = &guard;
            notes.say(data.len());
            // It is running: dropped when it returns.
            transport.set_protocol(Talker::new(&notes));
            notes.say("returns");
        }));
        client.write(b"12345");
        assert_eq!(until(&log, 4).await, ["made", "5", "returns", "dropped"]);
        client.write(b"again");
        assert_eq!(until(&log, 1).await, ["again"]);
    });
}

#[test]
fn who_cannot_be_reached_is_an_error() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut options = ConnectOptions::default();
        let refused = event_loop.open_connection("127.0.0.1", port, options.clone()).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        options.happy_eyeballs_delay = Some(std::time::Duration::from_millis(10));
        options.local_addr = Some("127.0.0.1:0".parse().unwrap());
        let refused = event_loop.open_connection("localhost", port, options).await;
        assert!(refused.is_err());
    });
}

#[test]
fn a_loop_that_ends_drops_its_connections_without_a_word() {
    let log = Log::default();
    let event_loop = oxloop::EventLoop::new();
    let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
    struct Held(Talker, #[expect(dead_code)] Dropped, Option<Transport>);
    impl Protocol for Held {
        fn connection_made(&mut self, transport: &Transport) {
            // A circle.
            self.2 = Some(transport.clone());
        }
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn connection_lost(&mut self, transport: &Transport, error: Option<&io::Error>) {
            self.0.connection_lost(transport, error);
        }
    }
    let held = Held(Talker::new(&log), Dropped(log.clone(), "dropped"), None);
    let options = ConnectOptions::default();
    let opening = event_loop.connect_accepted_socket(|| held, one, options);
    let transport = event_loop.run_until_complete(opening).unwrap().unwrap();
    drop(event_loop);
    assert_eq!(log.take(), ["dropped"]);
    assert!(transport.is_closing());
    transport.write(b"x");
    transport.close();
    transport.abort();
    transport.set_protocol(Talker::new(&log));
}

#[test]
fn files_are_sent_behind_what_waits() {
    let got = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let place = got.clone();
        let sink = move || {
            let place = place.clone();
            Doing(move |_: &Transport, data: &[u8]| place.borrow_mut().extend_from_slice(data))
        };
        let (server, client) = pair(sink, Doing(|_: &_, _: &_| ())).await;
        let path = std::env::temp_dir().join(format!("oxloop-file-{}", std::process::id()));
        let content: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        client.write(b"head");
        let sent = client.sendfile(&file, 1_000_000, None).await.unwrap();
        client.write(b"tail");
        client.close();
        while got.borrow().len() < 2_000_008 {
            yield_now().await;
        }
        server.close();
        server.wait_closed().await;
        assert_eq!(sent, 2_000_000);
        let expected = [b"head", &content[1_000_000..], b"tail"].concat();
        assert!(*got.borrow() == expected);
        assert!(client.sendfile(&file, 0, None).await.is_err());
    });
}

#[test]
fn slow_protocols_are_told_of_in_debug_mode() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let (_server, client) = pair(echo, Doing(|_: &_, _: &_| ())).await;
        log.hear(&event_loop);
        event_loop.set_slow_callback_duration(std::time::Duration::ZERO);
        event_loop.set_debug(true);
        client.write(b"x");
        let mut said = until(&log, 4).await;
        event_loop.set_debug(false);
        said.retain(|said| said.contains("an event of a connection"));
        assert!(!said.is_empty());
    });
}
