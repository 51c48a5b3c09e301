use std::net::SocketAddr;

use oxloop::{DatagramOptions, DatagramProtocol, DatagramTransport, EventLoop, get_running_loop};

use crate::connections::until;
use crate::support::{Log, run};

struct Noting(Log, bool);

impl DatagramProtocol for Noting {
    fn connection_made(&mut self, _: &DatagramTransport) {
        self.0.say("made");
    }

    fn datagram_received(
        &mut self,
        transport: &DatagramTransport,
        data: &[u8],
        from: Option<SocketAddr>,
    ) {
        self.0.say(String::from_utf8_lossy(data));
        if self.1 {
            transport.send_to(data, from);
        }
    }

    fn error_received(&mut self, _: &DatagramTransport, error: std::io::Error) {
        self.0.say(error.kind());
    }

    fn connection_lost(&mut self, _: &DatagramTransport, error: Option<&std::io::Error>) {
        self.0.say(if error.is_some() { "lost with an error" } else { "lost" });
    }
}

fn local() -> DatagramOptions {
    let mut options = DatagramOptions::default();
    options.local_addr = Some("127.0.0.1:0".parse().unwrap());
    options
}

#[test]
fn datagrams_go_there_and_back() {
    let (log, echo_log) = (Log::default(), Log::default());
    run(async {
        let event_loop = get_running_loop().unwrap();
        let echo = Noting(echo_log.clone(), true);
        let echo = event_loop.create_datagram_endpoint(|| echo, local()).unwrap();
        let mut options = DatagramOptions::default();
        options.remote_addr = echo.local_addr();
        let noting = Noting(log.clone(), false);
        let client = event_loop.create_datagram_endpoint(|| noting, options).unwrap();
        for word in ["one", "", "three"] {
            client.send_to(word.as_bytes(), None);
        }
        assert_eq!(until(&log, 4).await, ["made", "one", "", "three"]);
        assert_eq!(echo_log.take(), ["made", "one", "", "three"]);
        assert!(client.with_protocol(|noting: &mut Noting| noting.1) == Some(false));
        client.close();
        client.send_to(b"late", None);
        assert_eq!(until(&log, 1).await, ["lost"]);
        assert!(client.is_closing() && client.local_addr().is_none());
    });
}

#[test]
fn what_cannot_be_sent_is_told_and_nothing_ends() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let noting = Noting(log.clone(), false);
        let endpoint = event_loop.create_datagram_endpoint(|| noting, local()).unwrap();
        endpoint.send_to(&[0; 100_000], endpoint.local_addr());
        assert_eq!(until(&log, 2).await.len(), 2);
        endpoint.send_to(b"fine", endpoint.local_addr());
        assert_eq!(until(&log, 1).await, ["fine"]);
    });
}

#[test]
fn an_endpoint_needs_an_address() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let noting = Noting(log, false);
    assert!(event_loop.create_datagram_endpoint(|| noting, DatagramOptions::default()).is_err());
}
