//! Published ports that lead to servers of this machine.

use std::net::Ipv4Addr;

use super::*;
use crate::network::ports::{Publication, publish};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Publishes a port of this machine on another one, at the given address.
fn published(port: u16, transport: &str, at: &str) -> (Proxy, SocketAddr) {
    let publication = Publication::parse(&format!("{at}::{port}/{transport}")).unwrap();
    let bound = publish(&publication).unwrap();
    let host = bound[0].binding.host;
    let target = Target { address: HERE, namespace: None };
    (Proxy::start(bound, target).unwrap(), host)
}

/// A server that reads all that a client says and then says it back.
fn echo_after_end() -> u16 {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).unwrap();
                stream.write_all(&said).unwrap();
            });
        }
    });
    port
}

#[test]
fn both_directions_end_by_themselves() {
    let (_proxy, host) = published(echo_after_end(), "tcp", "127.0.0.1");
    let clients: Vec<_> = (0..20_u8)
        .map(|seed| {
            thread::spawn(move || {
                let said: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ seed).collect();
                let mut stream = TcpStream::connect(host).unwrap();
                stream.write_all(&said).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).unwrap();
                assert!(said == heard);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_client_that_says_nothing_still_hears_the_server() {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
    });
    let (_proxy, host) = published(port, "tcp", "127.0.0.1");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");
}

#[test]
fn where_nobody_listens_the_connection_ends() {
    // no test is given this port
    let (_proxy, host) = published(1, "tcp", "127.0.0.1");
    let mut stream = TcpStream::connect(host).unwrap();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn packets_find_their_way_back_to_their_senders() {
    let server = UdpSocket::bind((HERE, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 100];
        loop {
            let (length, sender) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..length], sender).unwrap();
        }
    });
    let (_proxy, host) = published(port, "udp", "127.0.0.1");
    let clients: Vec<UdpSocket> = (0..5)
        .map(|_| {
            let client = UdpSocket::bind((HERE, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            client.connect(host).unwrap();
            client
        })
        .collect();
    for round in 0..3_u8 {
        for (client, number) in clients.iter().zip(0_u8..) {
            client.send(&[round, number]).unwrap();
        }
        for (client, number) in clients.iter().zip(0_u8..) {
            let mut heard = [0; 10];
            assert_eq!(client.recv(&mut heard).unwrap(), 2);
            assert_eq!(heard[..2], [round, number]);
        }
    }
}

#[test]
fn a_dropped_proxy_frees_its_port() {
    // an address of its own, where no other test listens
    let (proxy, host) = published(echo_after_end(), "tcp", "127.0.0.9");
    let _open = TcpStream::connect(host).unwrap();
    drop(proxy);
    assert!(TcpStream::connect(host).is_err());
}

#[test]
fn the_loopback_of_ipv6_leads_to_a_container_of_ipv4() {
    let (_proxy, host) = published(echo_after_end(), "tcp", "[::1]");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(b"six").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "six");
}
