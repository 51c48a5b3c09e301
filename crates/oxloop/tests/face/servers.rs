use std::io;

use oxloop::{ConnectOptions, Protocol, ServerOptions, Transport, get_running_loop, yield_now};

use crate::connections::{Doing, Talker, pair, until};
use crate::support::{Log, run};

#[test]
fn a_closed_server_takes_nobody_and_keeps_those_it_has() {
    let log = Log::default();
    run(async {
        let (server, client) = pair(
            || Doing(|transport: &Transport, data: &[u8]| transport.write(data)),
            Talker::new(&log),
        )
        .await;
        let event_loop = get_running_loop().unwrap();
        assert!(server.is_serving());
        let address = server.local_addrs()[0];
        client.write(b"one");
        assert_eq!(until(&log, 2).await, ["made", "one"]);
        server.close();
        assert!(!server.is_serving());
        let refused = event_loop
            .open_connection("127.0.0.1", address.port(), ConnectOptions::default())
            .await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        client.write(b"two");
        assert_eq!(until(&log, 1).await, ["two"]);
        server.close_clients();
        server.wait_closed().await;
        assert_eq!(until(&log, 2).await, ["eof", "lost"]);
    });
}

#[test]
fn connections_know_both_ends() {
    run(async {
        let (server, client) = pair(|| Doing(|_: &_, _: &_| ()), Doing(|_: &_, _: &_| ())).await;
        assert_eq!(client.peer_addr(), Some(server.local_addrs()[0]));
        assert!(client.local_addr().is_some());
        server.abort_clients();
        server.close();
        server.wait_closed().await;
        while !client.is_closing() {
            yield_now().await;
        }
        yield_now().await;
        assert_eq!(client.local_addr(), None);
    });
}

#[test]
fn a_factory_that_panics_harms_only_its_connection() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        log.hear(&event_loop);
        struct Never;
        impl Protocol for Never {
            fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        }
        fn factory() -> Never {
            panic!("no protocol")
        }
        let (_server, _client) = pair(factory, Talker::new(&log)).await;
        let said = until(&log, 4).await;
        assert!(said.iter().any(|said| said.contains("no protocol")), "{said:?}");
        assert_eq!(said.last().unwrap(), "lost");
    });
}

#[test]
fn unix_sockets_are_served_by_path() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let path = std::env::temp_dir().join(format!("oxloop-unix-{}", std::process::id()));
        let echo = || Doing(|transport: &Transport, data: &[u8]| transport.write(data));
        let first = event_loop.create_unix_server(echo, &path, ServerOptions::default()).unwrap();
        drop(first);
        // The file is still there, and replaced.
        let _second = event_loop.create_unix_server(echo, &path, ServerOptions::default()).unwrap();
        let options = ConnectOptions::default();
        let client =
            event_loop.create_unix_connection(|| Talker::new(&log), &path, options).await.unwrap();
        client.write(b"path");
        assert_eq!(until(&log, 2).await, ["made", "path"]);
        assert_eq!(client.peer_addr(), None);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let handler = |_| async {};
        let options = ServerOptions::default();
        let error = event_loop.start_server(handler, "127.0.0.1", port, options).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&port.to_string()));
    });
}
