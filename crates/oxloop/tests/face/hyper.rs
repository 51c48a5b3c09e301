use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::Timer as _;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use oxloop::hyper::{Executor, Timer};
use oxloop::{create_task, timeout};

use crate::support::{connected, run};

/// Answers with the path and the length of what was sent.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::new(Bytes::from(format!("{path} {}", body.len())))))
}

fn request(path: &str, size: usize) -> Request<Full<Bytes>> {
    let builder =
        Request::builder().uri(format!("http://localhost{path}")).header("host", "localhost");
    builder.body(Full::new(Bytes::from(vec![b'x'; size]))).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn http1_is_served_and_asked() {
    run(async {
        let (_server, stream) = connected(|stream| async {
            let service = service_fn(answer);
            server::conn::http1::Builder::new()
                .timer(Timer)
                .serve_connection(stream, service)
                .await
                .unwrap();
        })
        .await;
        let (mut sender, connection) = client::conn::http1::handshake(stream).await.unwrap();
        let driving = create_task(connection);
        for size in [0, 10, 300_000] {
            let response = sender.send_request(request("/one", size)).await.unwrap();
            assert_eq!(text(response).await, format!("/one {size}"));
        }
        drop(sender);
        driving.await.unwrap().unwrap();
    });
}

#[test]
fn http2_is_served_and_asked_with_many_streams() {
    run(async {
        let (_server, stream) = connected(|stream| async {
            let service = service_fn(answer);
            server::conn::http2::Builder::new(Executor)
                .timer(Timer)
                .serve_connection(stream, service)
                .await
                .unwrap();
        })
        .await;
        let (sender, connection) = client::conn::http2::handshake(Executor, stream).await.unwrap();
        let driving = create_task(connection);
        let asking = (0..50).map(|number| {
            let mut sender = sender.clone();
            async move {
                let path = format!("/{number}");
                let response = sender.send_request(request(&path, number * 1000)).await.unwrap();
                assert_eq!(text(response).await, format!("{path} {}", number * 1000));
            }
        });
        for result in oxloop::gather(asking.collect::<Vec<_>>()).await {
            result.unwrap();
        }
        drop(sender);
        driving.await.unwrap().unwrap();
    });
}

#[test]
fn its_timer_is_the_loops() {
    run(async {
        Timer.sleep(Duration::from_millis(1)).await;
        assert!(
            timeout(Duration::from_millis(1), Timer.sleep(Duration::from_secs(60))).await.is_err()
        );
    });
}
