use std::io;
use std::sync::Arc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oxloop::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use oxloop::rustls::{ClientConfig, RootCertStore, ServerConfig};
use oxloop::{
    Buffered, BufferedProtocol, ClientTls, ConnectOptions, Limits, Protocol, Server, ServerOptions,
    Stream, Transport, get_running_loop,
};

use crate::connections::{Doing, Talker, until};
use crate::support::{Log, run};

/// A server's configuration, and that of a client who trusts it.
fn configurations() -> (Arc<ServerConfig>, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server_name = ServerName::try_from("localhost").unwrap();
    (Arc::new(server), ClientTls { config: Arc::new(client), server_name })
}

fn options(config: Arc<ServerConfig>) -> ServerOptions {
    let mut options = ServerOptions::default();
    options.tls = Some(config);
    options
}

fn speaking(tls: ClientTls) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    options.tls = Some(tls);
    options
}

fn echo() -> impl Protocol {
    Doing(|transport: &Transport, data: &[u8]| transport.write(data))
}

async fn echo_server(config: Arc<ServerConfig>) -> (Server, u16) {
    let event_loop = get_running_loop().unwrap();
    let server = event_loop.create_server(echo, Some("127.0.0.1"), 0, options(config)).await;
    let server = server.unwrap();
    let port = server.local_addrs()[0].port();
    (server, port)
}

#[test]
fn protocols_talk_and_say_goodbye() {
    let log = Log::default();
    run(async {
        let (config, tls) = configurations();
        let (server, port) = echo_server(config).await;
        let event_loop = get_running_loop().unwrap();
        let client = event_loop
            .create_connection(|| Talker::new(&log), "127.0.0.1", port, speaking(tls))
            .await
            .unwrap();
        assert_eq!(log.take(), ["made"]);
        assert!(!client.can_write_eof());
        assert!(client.with_tls(|tls| tls.protocol_version().is_some()).unwrap());
        client.write(b"secret");
        assert_eq!(until(&log, 1).await, ["secret"]);
        client.close();
        assert_eq!(until(&log, 1).await, ["lost"]);
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn much_goes_through_with_flow_control() {
    let log = Log::default();
    run(async {
        let (config, tls) = configurations();
        let event_loop = get_running_loop().unwrap();
        struct Sink(usize, [u8; 1000]);
        impl BufferedProtocol for Sink {
            fn get_buffer(&mut self) -> &mut [u8] {
                // Smaller than a record.
                &mut self.1
            }
            fn buffer_updated(&mut self, transport: &Transport, count: usize) {
                self.0 += count;
                if self.0 == 20_000_000 {
                    transport.write(b"all");
                    transport.close();
                }
            }
        }
        let server = event_loop
            .create_server(|| Buffered(Sink(0, [0; 1000])), Some("127.0.0.1"), 0, options(config))
            .await
            .unwrap();
        let port = server.local_addrs()[0].port();
        let client = event_loop
            .create_connection(|| Talker::new(&log), "127.0.0.1", port, speaking(tls))
            .await
            .unwrap();
        client.set_write_buffer_limits(Limits { low: 1000, high: 20_000 });
        client.write(&[b'x'; 12_000_000]);
        client.write_vec(vec![b'y'; 8_000_000]);
        let mut said = until(&log, 6).await;
        // The answer may overtake what the writer is told.
        said.sort();
        assert_eq!(said, ["all", "eof", "lost", "made", "pause", "resume"]);
    });
}

#[test]
fn streams_speak_it_too() {
    run(async {
        let (config, tls) = configurations();
        let event_loop = get_running_loop().unwrap();
        let handler = |mut stream: Stream| async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 1_500_000);
        };
        let server =
            event_loop.start_server(handler, "127.0.0.1", 0, options(config)).await.unwrap();
        let port = server.local_addrs()[0].port();
        let mut stream =
            event_loop.open_connection("127.0.0.1", port, speaking(tls)).await.unwrap();
        stream.write_all(&vec![b'z'; 1_500_000]).await.unwrap();
        stream.close().await.unwrap();
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn who_is_not_trusted_is_refused_and_the_server_goes_on() {
    run(async {
        let (config, tls) = configurations();
        let (_, stranger) = configurations();
        let (_server, port) = echo_server(config).await;
        let event_loop = get_running_loop().unwrap();
        let refused = event_loop.open_connection("127.0.0.1", port, speaking(stranger)).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        // Somebody who does not speak TLS at all.
        let mut plain =
            event_loop.open_connection("127.0.0.1", port, ConnectOptions::default()).await.unwrap();
        plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut alert = Vec::new();
        let _ = plain.read_to_end(&mut alert).await;
        assert_eq!(alert.first(), Some(&21));
        let mut stream =
            event_loop.open_connection("127.0.0.1", port, speaking(tls)).await.unwrap();
        stream.write_all(b"fine").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"fine");
    });
}

#[test]
fn an_end_without_a_goodbye_is_an_error() {
    let log = Log::default();
    run(async {
        let (config, tls) = configurations();
        let (_server, port) = echo_server(config).await;
        let event_loop = get_running_loop().unwrap();
        // Between them, somebody who cuts.
        let handler = move |client: Stream| async move {
            let event_loop = get_running_loop().unwrap();
            let options = ConnectOptions::default();
            let server = event_loop.open_connection("127.0.0.1", port, options).await.unwrap();
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let there = oxloop::create_task(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    to_server.write_all(&buffer[..count]).await.unwrap();
                }
            });
            let mut buffer = [0; 4096];
            let mut passed = 0;
            while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                to_client.write_all(&buffer[..count]).await.unwrap();
                passed += count;
                if passed > 5000 {
                    break;
                }
            }
            to_client.close().await.unwrap();
            there.await.unwrap();
        };
        let cutter = event_loop
            .start_server(handler, "127.0.0.1", 0, ServerOptions::default())
            .await
            .unwrap();
        let port = cutter.local_addrs()[0].port();
        let client = event_loop
            .create_connection(|| Talker::new(&log), "127.0.0.1", port, speaking(tls))
            .await
            .unwrap();
        client.write(&[b'x'; 6000]);
        let mut said = until(&log, 4).await;
        while said.last().is_none_or(|last| !last.starts_with("lost")) {
            said.extend(until(&log, 1).await);
        }
        assert_eq!(said.last().unwrap(), "lost: UnexpectedEof");
    });
}

#[test]
fn a_connection_may_begin_without() {
    let log = Log::default();
    run(async {
        let (config, tls) = configurations();
        let event_loop = get_running_loop().unwrap();
        struct Upgrading(Arc<ServerConfig>, bool);
        impl Protocol for Upgrading {
            fn data_received(&mut self, transport: &Transport, data: &[u8]) {
                transport.write(data);
                if !std::mem::replace(&mut self.1, true) {
                    let (transport, config) = (transport.clone(), self.0.clone());
                    drop(oxloop::create_task(async move {
                        transport.start_tls_server(config).await.unwrap();
                        transport.write(b"welcome");
                    }));
                }
            }
        }
        let factory = move || Upgrading(config.clone(), false);
        let server = event_loop
            .create_server(factory, Some("127.0.0.1"), 0, ServerOptions::default())
            .await
            .unwrap();
        let port = server.local_addrs()[0].port();
        let client = event_loop
            .create_connection(|| Talker::new(&log), "127.0.0.1", port, ConnectOptions::default())
            .await
            .unwrap();
        client.write(b"plain");
        assert_eq!(until(&log, 2).await, ["made", "plain"]);
        client.start_tls(&tls).await.unwrap();
        assert_eq!(until(&log, 1).await, ["welcome"]);
        client.write(b"secret");
        assert_eq!(until(&log, 1).await, ["secret"]);
        client.close();
        assert_eq!(until(&log, 1).await, ["lost"]);
    });
}

#[test]
fn files_are_encrypted_on_their_way() {
    run(async {
        let (config, tls) = configurations();
        let event_loop = get_running_loop().unwrap();
        let handler = |stream: Stream| async move {
            let file = std::fs::File::open("/proc/self/exe").unwrap();
            stream.transport().sendfile(&file, 0, Some(700_000)).await.unwrap();
        };
        let server =
            event_loop.start_server(handler, "127.0.0.1", 0, options(config)).await.unwrap();
        let port = server.local_addrs()[0].port();
        let mut stream =
            event_loop.open_connection("127.0.0.1", port, speaking(tls)).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 700_000);
    });
}
