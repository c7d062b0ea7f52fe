//! Each fault, against a server that gives back what it gets.

use super::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Gives back what it gets; says how each connection ended.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<io::Result<()>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ended = ended.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let end = loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => break Ok(()),
                        Ok(length) => stream.write_all(&buffer[..length]).await.unwrap(),
                        Err(error) => break Err(error),
                    }
                };
                let _ = ended.send(end);
            });
        }
    });
    (addr, ends)
}

async fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(question).await?;
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn rest(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    Ok(rest)
}

#[tokio::test]
async fn all_passes_and_ends_are_passed_on() {
    let (addr, mut ends) = echo().await;
    let proxy = Proxy::start(addr).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    assert_eq!(proxy.open(), [0]);
    drop(stream);
    ends.recv().await.unwrap().unwrap();
    let seen = proxy.until(|seen| seen.open == 0).await;
    assert_eq!((seen.links, seen.struck), (1, 0));
}

#[tokio::test]
async fn a_cut_is_an_end_or_a_reset_on_both_sides() {
    let (addr, mut ends) = echo().await;
    let proxy = Proxy::start(addr).await.unwrap();
    for (effect, reset) in [(Effect::Fin, false), (Effect::Rst, true)] {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut stream, b"hello").await.unwrap();
        assert_eq!(
            proxy.inject_all(Fault::new(Direction::ToClient, 0, effect)),
            1
        );
        let end = rest(&mut stream).await.map_err(|error| error.kind());
        let wanted = if reset {
            Err(io::ErrorKind::ConnectionReset)
        } else {
            Ok(vec![])
        };
        assert_eq!(end, wanted);
        assert_eq!(ends.recv().await.unwrap().is_err(), reset);
        drop(stream);
        proxy.until(|seen| seen.open == 0).await;
    }
}

#[tokio::test]
async fn a_frame_is_cut_and_a_byte_changed_exactly_where_it_was_said() {
    let (addr, _ends) = echo().await;
    let proxy = Proxy::scripted(addr, |_| {
        vec![
            Fault::new(Direction::ToServer, 1, Effect::Corrupt(0x20)),
            Fault::new(Direction::ToClient, 7, Effect::Fin),
        ]
    })
    .await
    .unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hEllo");
    stream.write_all(b"world").await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), b"wo");
    assert_eq!(proxy.seen().struck, 2);
}

#[tokio::test]
async fn held_back_bytes_come_when_healed() {
    let (addr, _ends) = echo().await;
    let proxy = Proxy::start(addr).await.unwrap();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut stream, b"hello").await.unwrap();
        let link = *proxy.open().last().unwrap();
        let before = proxy.seen().struck;
        assert!(proxy.inject(link, Fault::new(direction, 0, Effect::Stall)));
        stream.write_all(b"again").await.unwrap();
        proxy.until(|seen| seen.struck > before).await;
        let mut answer = [0; 5];
        // Nothing can come: the only one who would pass it on waits for the healing.
        let nothing = stream.try_read(&mut answer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        proxy.heal();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"again");
    }
}

#[tokio::test]
async fn of_a_half_open_connection_only_the_server_knows() {
    let (addr, mut ends) = echo().await;
    let proxy = Proxy::start(addr).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    ask(&mut stream, b"hello").await.unwrap();
    proxy.inject(0, Fault::new(Direction::ToServer, 0, Effect::HalfOpen));
    assert!(ends.recv().await.unwrap().is_err());
    stream.write_all(b"anybody there?").await.unwrap();
    let nothing = stream.try_read(&mut [0; 8]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(proxy.seen().open, 1);
    drop(stream);
    proxy.until(|seen| seen.open == 0).await;
}

#[tokio::test]
async fn delayed_bytes_come_and_a_missing_server_is_a_reset() {
    let (addr, _ends) = echo().await;
    let delay = Effect::Delay(Duration::from_millis(1));
    let proxy = Proxy::scripted(addr, move |_| {
        vec![Fault::new(Direction::ToClient, 2, delay)]
    })
    .await
    .unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");

    let nobody = crate::targets::Refusing::new().unwrap();
    let proxy = Proxy::start(nobody.addr()).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let error = rest(&mut stream).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_connection_is_held_until_its_client_closes_it() {
    let (addr, _ends) = echo().await;
    let proxy = Proxy::start(addr).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut stream, b"hello").await.unwrap();
        streams.push(stream);
    }
    let ports: Vec<u16> = {
        let links = proxy.shared.links();
        links
            .values()
            .map(|entry| entry.towards_server.port())
            .collect()
    };
    assert_eq!(proxy.still_held(&ports).unwrap(), ports);
    // The server cannot know of this one, since nothing passes any more.
    proxy.inject(0, Fault::new(Direction::ToServer, 0, Effect::Stall));
    streams[0].write_all(b"stuck").await.unwrap();
    proxy.until(|seen| seen.struck == 1).await;
    drop(streams.remove(0));
    assert_eq!(proxy.still_held(&ports).unwrap(), ports[1..]);
    assert_eq!(proxy.open(), [0, 1]);
}

#[test]
fn random_faults_are_the_same_for_the_same_seed() {
    let draw = |seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        std::iter::repeat_with(move || Fault::random(&mut rng, 100))
            .take(50)
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert!(draw(7).iter().all(|fault| fault.after <= 100));
}
