//! A broker that dies while answers wait, in the few bytes of MQTT that it takes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use didar_protocol::id::Env;
use didar_protocol::topic::Topic;

use super::*;

/// CONNACK: clean, success, at most 20 messages unacknowledged.
const WELCOME: &[u8] = &[0x20, 6, 0, 0, 3, 0x21, 0, 20];
/// Longest wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;

/// The next packet's kind and what follows; `None` at the connection's end.
async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind >> 4, body))
}

async fn accepted(broker: &TcpListener) -> TcpStream {
    let (mut stream, _) = broker.accept().await.unwrap();
    assert_eq!(packet(&mut stream).await.unwrap().0, CONNECT);
    stream.write_all(WELCOME).await.unwrap();
    stream
}

/// Takes one connection until a subscription has come on it.
async fn subscribed(broker: &TcpListener) {
    let mut stream = accepted(broker).await;
    loop {
        let (kind, body) = packet(&mut stream).await.expect("a subscription before the connection's end");
        if kind == SUBSCRIBE {
            return;
        }
        assert_eq!(kind, PUBLISH);
        // Its number stands behind its topic; acknowledged, the next one may come.
        let number = 2 + usize::from(body[0]) * 256 + usize::from(body[1]);
        stream.write_all(&[0x40, 2, body[number], body[number + 1]]).await.unwrap();
    }
}

#[tokio::test]
async fn a_matcher_whose_answers_wait_subscribes_on_the_next_connection_too() {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = BrokerUrl { host: "127.0.0.1".into(), port: broker.local_addr().unwrap().port() };
    let (client, mut connection) = connect(&url, "matcher:test", Transport::Tcp);
    let (parcels, outbox) = mpsc::channel(PARCELS_MAX);
    let connections = watch::Sender::new(0);
    let filters = vec![Filter::new("$share/matchers/#", QoS::AtLeastOnce)];
    let publisher = tokio::spawn(publish_all(client, outbox, filters, connections.subscribe()));
    // More than every queue on the way holds.
    tokio::spawn(async move {
        let topic = Topic::OperatorEvents { env: Env::Test };
        let message = Outgoing { topic, payload: vec![0], retain: false, expiry_s: None, reply: false };
        while parcels.send(Parcel { message: message.clone(), thread: Thread::default() }).await.is_ok() {}
    });
    let listening = tokio::spawn(async move {
        let ((tasks, _work), connected) = (mpsc::channel(1), watch::Sender::new(false));
        Listener::new(&tasks, &connections, &connected, watch::channel(true).1).listen(&mut connection).await;
    });
    for _ in 0..3 {
        timeout(PATIENCE, subscribed(&broker)).await.expect("a subscription on each connection");
    }
    listening.abort();
    publisher.abort();
}

#[tokio::test]
async fn a_matcher_that_may_not_act_leaves_the_share_until_it_may() {
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = BrokerUrl { host: "127.0.0.1".into(), port: broker.local_addr().unwrap().port() };
    let (_client, mut connection) = connect(&url, "matcher:test", Transport::Tcp);
    let (may_act, in_time) = watch::channel(false);
    let connections = watch::Sender::new(0);
    let listening = tokio::spawn(async move {
        let ((tasks, _work), connected) = (mpsc::channel(1), watch::Sender::new(false));
        Listener::new(&tasks, &connections, &connected, in_time).listen(&mut connection).await;
    });
    assert!(timeout(Duration::from_millis(300), broker.accept()).await.is_err(), "no connection before");
    for _ in 0..2 {
        may_act.send_replace(true);
        let mut stream = timeout(PATIENCE, accepted(&broker)).await.expect("a connection");
        may_act.send_replace(false);
        let end = timeout(PATIENCE, async { while packet(&mut stream).await.is_some() {} });
        end.await.expect("the connection ends");
    }
    listening.abort();
}
