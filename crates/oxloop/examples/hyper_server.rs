//! hyper on oxloop: HTTP/1.1 on one port, HTTP/2 (without TLS) on the next.
//!
//!     cargo run --release -p oxloop --features hyper --example hyper_server -- 8080
//!     curl -i http://127.0.0.1:8080/
//!     curl -i --http2-prior-knowledge http://127.0.0.1:8081/

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use oxloop::hyper::{Executor, Timer};
use oxloop::{ServerOptions, Stream};

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = match request.uri().path() {
        "/" => Bytes::from_static(b"Hello, world!\n"),
        path => Bytes::from(format!("Hello, {}!\n", path.trim_start_matches('/'))),
    };
    Ok(Response::new(Full::new(body)))
}

/// Serves one connection. What fails concerns nobody else.
async fn serve_http1(stream: Stream) {
    let mut builder = http1::Builder::new();
    let connection = builder.timer(Timer).serve_connection(stream, service_fn(answer));
    if let Err(error) = connection.await {
        eprintln!("{error}");
    }
}

async fn serve_http2(stream: Stream) {
    let mut builder = http2::Builder::new(Executor);
    let connection = builder.timer(Timer).serve_connection(stream, service_fn(answer));
    if let Err(error) = connection.await {
        eprintln!("{error}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    oxloop::run(async {
        let event_loop = oxloop::get_running_loop().ok_or("no loop")?;
        let options = ServerOptions::default();
        let one = event_loop.start_server(serve_http1, "127.0.0.1", port, options.clone()).await?;
        let two = event_loop.start_server(serve_http2, "127.0.0.1", port + 1, options).await?;
        let stop = event_loop.create_future::<()>();
        let stopped = stop.clone();
        event_loop.add_signal_handler(signal_hook::consts::SIGINT, move || {
            // The second time it is done already.
            let _ = stop.set_result(());
        })?;
        println!("{one:?}\n{two:?}");
        stopped.await?;
        Ok::<(), Box<dyn std::error::Error>>(())
    })?
}
