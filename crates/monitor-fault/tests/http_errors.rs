//! HTTP exchanges that really failed, seen through hyper.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use monitor_fault::{Category, Fault, Layer, Reason};
use monitor_testkit::targets::Target;
use tokio::net::TcpStream;

/// The fault of one GET, or of its body.
async fn get(target: &Target) -> Fault {
    let stream = TcpStream::connect(target.addr()).await.expect("it accepts");
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.expect("a handshake without bytes");
    let request = Request::get("/")
        .body(Empty::<Bytes>::new())
        .expect("a valid request");
    let exchange = async {
        let response = sender.send_request(request).await?;
        response.into_body().collect().await
    };
    let (result, _) = tokio::join!(exchange, connection);
    let error = result.expect_err("a failing target");
    Fault::classify(&error, Layer::Response)
}

/// ROB-54: bytes that are not HTTP.
#[tokio::test]
async fn malformed() {
    let fault = get(&Target::garbage().await.expect("a target")).await;
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Protocol, Reason::Malformed)
    );
    assert_eq!(fault.category(), Category::Protocol);
}

/// ROB-54: a head without end.
#[tokio::test]
async fn too_large() {
    let fault = get(&Target::endless_headers().await.expect("a target")).await;
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Protocol, Reason::TooLarge)
    );
}

/// ROB-54: an answer that ends in its middle.
#[tokio::test]
async fn incomplete() {
    let fault = get(&Target::close_at_once().await.expect("a target")).await;
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Response, Reason::Incomplete)
    );
    let fault = get(&Target::half_answer().await.expect("a target")).await;
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Response, Reason::Closed)
    );
}

/// ROB-54: below hyper's error is the socket's.
#[tokio::test]
async fn reset() {
    let fault = get(&Target::reset().await.expect("a target")).await;
    assert_eq!(
        (fault.layer(), fault.reason()),
        (Layer::Response, Reason::Reset)
    );
    assert_eq!(fault.category(), Category::Network);
}
