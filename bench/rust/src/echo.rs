//! Echo: a server in a process of its own, and the load that this process makes.

use std::cell::{Cell, RefCell};
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
const SERVERS: [&str; 3] = ["protocol", "stream", "tokio"];

/// How long a server is measured at a time: short, so that what else the machine does meets all.
const SLICE: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_millis(10);

/// Microseconds of each server's processor time per message, round by round: the servers take turns.
pub fn measure(connections: usize, size: usize, rounds: usize) -> Vec<[f64; 3]> {
    let mut servers = SERVERS.map(ServerProcess::start);
    let message: Rc<[u8]> = vec![b'x'; size].into();
    let asked: [Rc<Asked>; 3] = std::array::from_fn(|_| Rc::default());
    oxloop::run(async {
        let event_loop = oxloop::get_running_loop().unwrap();
        for (server, asked) in servers.iter().zip(&asked) {
            let (host, port) = (server.address.ip().to_string(), server.address.port());
            for _ in 0..connections {
                let asker = Asker { asked: asked.clone(), message: message.clone(), left: size };
                let options = ConnectOptions::default();
                event_loop.create_connection(|| asker, &host, port, options).await.unwrap();
            }
        }
        let mut figures = Vec::new();
        for round in 0..=rounds {
            let mut figure = [0.0; 3];
            for turn in 0..3 {
                let index = (round + turn) % 3;
                figure[index] = asked[index].slice(&mut servers[index], &message).await;
            }
            figures.push(figure);
        }
        // Of the first round everything is new.
        figures.split_off(1)
    })
    .unwrap()
}

/// What is asked of a server.
#[derive(Default)]
struct Asked {
    busy: Cell<bool>,
    count: Cell<u64>,
    /// The connections that wait for its turn.
    idle: RefCell<Vec<Transport>>,
}

impl Asked {
    async fn slice(&self, server: &mut ServerProcess, message: &[u8]) -> f64 {
        self.busy.set(true);
        let idle = self.idle.take();
        idle.iter().for_each(|transport| transport.write(message));
        oxloop::sleep(SETTLE).await;
        let (messages, begin) = (self.count.get(), server.cpu());
        oxloop::sleep(SLICE).await;
        let (messages, nanos) = (self.count.get() - messages, server.cpu() - begin);
        self.busy.set(false);
        while self.idle.borrow().len() < idle.len() {
            oxloop::sleep(SETTLE).await;
        }
        nanos as f64 / 1000.0 / messages as f64
    }
}

struct Asker {
    asked: Rc<Asked>,
    message: Rc<[u8]>,
    left: usize,
}

impl Protocol for Asker {
    fn connection_made(&mut self, transport: &Transport) {
        self.asked.idle.borrow_mut().push(transport.clone());
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.left -= data.len();
        if self.left > 0 {
            return;
        }
        self.left = self.message.len();
        self.asked.count.set(self.asked.count.get() + 1);
        if self.asked.busy.get() {
            transport.write(&self.message);
        } else {
            self.asked.idle.borrow_mut().push(transport.clone());
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
