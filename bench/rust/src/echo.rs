//! Echo: a server in a process of its own, and the load that this process makes.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oxloop::{ConnectOptions, Protocol, ServerOptions, Stream, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cpu;

/// What a server reads at a time.
const BUFFER: usize = 64 * 1024;

/// Microseconds of the server's processor time per message.
pub fn measure(runtime: &str, connections: usize, size: usize) -> f64 {
    let mut server = ServerProcess::start(runtime);
    let address = server.address;
    let count = Rc::new(Cell::new(0u64));
    let (messages, nanos) = oxloop::run(async {
        let event_loop = oxloop::get_running_loop().unwrap();
        for _ in 0..connections {
            let asker = Asker { count: count.clone(), size, left: size };
            let options = ConnectOptions::default();
            let host = address.ip().to_string();
            event_loop.create_connection(|| asker, &host, address.port(), options).await.unwrap();
        }
        oxloop::sleep(Duration::from_millis(300)).await;
        let (messages, begin) = (count.get(), server.cpu());
        oxloop::sleep(Duration::from_millis(1500)).await;
        (count.get() - messages, server.cpu() - begin)
    })
    .unwrap();
    nanos as f64 / 1000.0 / messages as f64
}

struct Asker {
    count: Rc<Cell<u64>>,
    size: usize,
    left: usize,
}

impl Protocol for Asker {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&vec![b'x'; self.size]);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.left -= data.len();
        if self.left == 0 {
            self.left = self.size;
            self.count.set(self.count.get() + 1);
            self.connection_made(transport);
        }
    }
}

struct ServerProcess {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(runtime: &str) -> ServerProcess {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serve", runtime]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        ServerProcess { child, output, address: line.trim().parse().unwrap() }
    }

    fn cpu(&mut self) -> u64 {
        self.child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's side. Says where it is, then its processor time for each byte of input.
pub fn serve(runtime: &str) {
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read_exact(&mut byte).is_ok() {
            println!("{}", cpu());
        }
        std::process::exit(0);
    });
    match runtime {
        "tokio" => serve_tokio(),
        "protocol" => serve_protocol(),
        _ => serve_stream(),
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn serve_protocol() {
    oxloop::run(async {
        let event_loop = oxloop::get_running_loop().unwrap();
        let options = ServerOptions::default();
        let server = event_loop.create_server(|| Echo, Some("127.0.0.1"), 0, options).await.unwrap();
        println!("{}", server.local_addrs()[0]);
        server.serve_forever().await;
    })
    .unwrap();
}

async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if AsyncWriteExt::write_all(&mut stream, &buffer[..count]).await.is_err() {
            break;
        }
    }
}

fn serve_stream() {
    oxloop::run(async {
        let event_loop = oxloop::get_running_loop().unwrap();
        let options = ServerOptions::default();
        let server = event_loop.start_server(echo, "127.0.0.1", 0, options).await.unwrap();
        println!("{}", server.local_addrs()[0]);
        server.serve_forever().await;
    })
    .unwrap();
}

fn serve_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; BUFFER];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}
