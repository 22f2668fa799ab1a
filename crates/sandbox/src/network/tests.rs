//! Networks for real, inside a namespace that stands for the machine. Only root can run these.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::netlink::Socket;
use super::nftables::{self, Expression, FILTER_PRIORITY, Family, Hook, Transaction, Verdict};
use super::*;

const PATIENCE: Duration = Duration::from_mins(1);
const IMPATIENCE: Duration = Duration::from_millis(300);

/// Runs a test on a machine of its own, unless this user cannot make one.
fn on_a_machine(test: impl FnOnce(&Path) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make network namespaces");
        return;
    }
    let runtime = tempfile::tempdir().unwrap();
    NetNs::create().unwrap().run(|| test(runtime.path())).unwrap();
}

fn default_bridge(runtime: &Path) -> Bridge {
    Bridge::new(BridgeSpec::default_network(), runtime)
}

fn bridge_with(runtime: &Path, id: &str, change: impl FnOnce(&mut BridgeSpec)) -> Bridge {
    let mut spec = BridgeSpec::of_network(id);
    change(&mut spec);
    Bridge::new(spec, runtime)
}

/// Listens inside a namespace and says to each client which address it came from.
fn who_are_you(namespace: &NetNs) -> u16 {
    let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let client = stream.peer_addr().unwrap().ip().to_string();
            stream.write_all(client.as_bytes()).unwrap();
        }
    });
    port
}

/// What a server says to a client inside a namespace; none when it cannot be reached.
fn ask(from: &NetNs, address: Ipv4Addr, port: u16, patience: Duration) -> Option<String> {
    let connect = || TcpStream::connect_timeout(&SocketAddr::from((address, port)), patience);
    let mut stream = from.run(connect).unwrap().ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    Some(said)
}

/// A namespace outside all of our networks, which knows no way back to them.
fn the_world() -> (NetNs, Ipv4Addr) {
    let socket = Socket::route().unwrap();
    let (here, there) = (Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2));
    let subnet = Subnet::new(here, 24);
    route::add_bridge(&socket, "world0", [2, 0, 0, 0, 0, 9], 1400).unwrap();
    let bridge = route::link(&socket, "world0").unwrap().unwrap().index;
    route::add_address(&socket, bridge, here, subnet).unwrap();
    let world = NetNs::create().unwrap();
    let veth = route::Veth {
        name: "world1",
        bridge,
        peer_name: "eth0",
        peer_address: [2, 0, 0, 0, 0, 8],
        namespace: world.as_fd(),
        mtu: 1400,
    };
    route::add_veth(&socket, &veth).unwrap();
    let link = route::link(world.route(), "eth0").unwrap().unwrap().index;
    route::add_address(world.route(), link, there, subnet).unwrap();
    route::set_up(world.route(), link).unwrap();
    (world, there)
}

/// What Docker and careful administrators do: nothing passes through this machine.
fn forbid_forwarding(chains_of_docker: bool) {
    let mut transaction = Transaction::default();
    transaction.add_table(Family::Ipv4, "filter");
    let forward = (Family::Ipv4, "filter", "FORWARD");
    transaction.add_base_chain(forward, (Hook::Forward, FILTER_PRIORITY), Verdict::Drop);
    if chains_of_docker {
        // Any chain of the name will do, as only the name is looked at.
        let chain = (Family::Ipv4, "filter", "DOCKER-USER");
        transaction.add_base_chain(chain, (Hook::Output, FILTER_PRIORITY), Verdict::Accept);
        transaction
            .append_rule(forward, &[Expression::OutLink("docker0".into()), Expression::End(Verdict::Drop)]);
    }
    transaction.commit().unwrap();
}

fn foreign_rules() -> Vec<Option<String>> {
    let socket = Socket::netfilter().unwrap();
    let rules = nftables::rules(&socket, (Family::Ipv4, "filter", "FORWARD")).unwrap();
    rules.into_iter().map(|rule| rule.comment).collect()
}

#[test]
fn containers_of_one_network_reach_each_other() {
    on_a_machine(|runtime| {
        let bridge = default_bridge(runtime);
        let (one, two) = (connect(&bridge).unwrap(), connect(&bridge).unwrap());
        let (first, second) = (Ipv4Addr::new(10, 88, 0, 2), Ipv4Addr::new(10, 88, 0, 3));
        assert_eq!((one.endpoint.address, two.endpoint.address), (first, second));
        let port = who_are_you(&two.namespace);
        assert_eq!(ask(&one.namespace, second, port, PATIENCE).as_deref(), Some("10.88.0.2"));
    });
}

#[test]
fn containers_reach_the_world_and_hide_behind_the_machine() {
    on_a_machine(|runtime| {
        let (world, address) = the_world();
        let port = who_are_you(&world);
        let container = connect(&default_bridge(runtime)).unwrap();
        let heard = ask(&container.namespace, address, port, PATIENCE);
        assert_eq!(heard.as_deref(), Some("203.0.113.1"));
    });
}

#[test]
fn the_world_does_not_reach_containers() {
    on_a_machine(|runtime| {
        let (world, _) = the_world();
        let container = connect(&default_bridge(runtime)).unwrap();
        let port = who_are_you(&container.namespace);
        route::add_default_route(world.route(), 2, Ipv4Addr::new(203, 0, 113, 1).into()).unwrap();
        assert_eq!(ask(&world, container.endpoint.address, port, IMPATIENCE), None);
    });
}

#[test]
fn a_machine_that_forwards_nothing_forwards_for_us() {
    for chains_of_docker in [false, true] {
        on_a_machine(|runtime| {
            let (world, address) = the_world();
            let port = who_are_you(&world);
            let bridge = default_bridge(runtime);
            bridge.ensure().unwrap();
            // Docker may come later than the bridge.
            forbid_forwarding(chains_of_docker);
            let container = connect(&bridge).unwrap();
            let again = connect(&bridge).unwrap();
            assert!(ask(&container.namespace, address, port, PATIENCE).is_some());
            let mark = || Some("lighter lighter0".to_owned());
            let expected = if chains_of_docker { vec![None, mark(), mark()] } else { vec![mark(), mark()] };
            assert_eq!(foreign_rules(), expected);
            container.endpoint.detach().unwrap();
            again.endpoint.detach().unwrap();
            assert!(bridge.remove_if_unused().unwrap());
            assert_eq!(foreign_rules(), vec![None; usize::from(chains_of_docker)]);
        });
    }
}

#[test]
fn a_chain_that_rejects_in_the_end_lets_ours_pass_before() {
    on_a_machine(|runtime| {
        let (world, address) = the_world();
        let port = who_are_you(&world);
        let mut transaction = Transaction::default();
        transaction.add_table(Family::Ipv4, "filter");
        let forward = (Family::Ipv4, "filter", "FORWARD");
        transaction.add_base_chain(forward, (Hook::Forward, FILTER_PRIORITY), Verdict::Accept);
        transaction.append_rule(forward, &[Expression::End(Verdict::Drop)]);
        transaction.commit().unwrap();
        let container = connect(&default_bridge(runtime)).unwrap();
        assert!(ask(&container.namespace, address, port, PATIENCE).is_some());
    });
}

#[test]
fn networks_are_apart_and_internal_ones_lead_nowhere() {
    on_a_machine(|runtime| {
        let (world, address) = the_world();
        let world_port = who_are_you(&world);
        let inside = bridge_with(runtime, "abc", |spec| spec.internal = true);
        let (one, two) = (connect(&inside).unwrap(), connect(&inside).unwrap());
        let other = connect(&default_bridge(runtime)).unwrap();
        let port = who_are_you(&one.namespace);
        assert!(ask(&two.namespace, one.endpoint.address, port, PATIENCE).is_some());
        assert_eq!(ask(&other.namespace, one.endpoint.address, port, IMPATIENCE), None);
        assert_eq!(ask(&one.namespace, address, world_port, IMPATIENCE), None);
        assert!(ask(&other.namespace, address, world_port, PATIENCE).is_some());
    });
}

#[test]
fn an_address_is_free_again_when_its_namespace_is_gone() {
    on_a_machine(|runtime| {
        let bridge = bridge_with(runtime, "abc", |spec| {
            spec.subnet = Some("10.7.0.0/29".parse().unwrap());
        });
        let mut all: Vec<Connected> = (0..5).map(|_| connect(&bridge).unwrap()).collect();
        let error = connect(&bridge).unwrap_err();
        assert_eq!(error.to_string(), "all addresses of 10.7.0.0/29 are in use");
        assert!(!bridge.remove_if_unused().unwrap());
        let freed = all.remove(2);
        let address = freed.endpoint.address;
        assert!(freed.endpoint.is_alive().unwrap());
        freed.endpoint.detach().unwrap();
        assert!(!freed.endpoint.is_alive().unwrap());
        assert_eq!(connect(&bridge).unwrap().endpoint.address, address);
    });
}

#[test]
fn addresses_can_be_asked_for() {
    on_a_machine(|runtime| {
        let bridge = bridge_with(runtime, "abc", |spec| {
            spec.subnet = Some("10.7.0.0/24".parse().unwrap());
            spec.gateway = Some(Ipv4Addr::new(10, 7, 0, 254));
        });
        let attach = |address: [u8; 4]| {
            let address = Some(Ipv4Addr::from(address));
            let namespace = NetNs::create().unwrap();
            let wish = Attachment { address, ..Attachment::default() };
            bridge.attach(&namespace, &wish).map(|endpoint| (namespace, endpoint))
        };
        let (_held, endpoint) = attach([10, 7, 0, 9]).unwrap();
        assert_eq!(endpoint.gateway, Ipv4Addr::new(10, 7, 0, 254));
        for (address, expected) in [
            ([10, 7, 0, 9], "address 10.7.0.9 is already in use"),
            ([10, 7, 0, 254], "address 10.7.0.254 is already in use"),
            ([10, 7, 0, 255], "10.7.0.255 is not an address for a host in 10.7.0.0/24"),
            ([10, 8, 0, 2], "10.8.0.2 is not an address for a host in 10.7.0.0/24"),
        ] {
            assert_eq!(attach(address).unwrap_err().to_string(), expected);
        }
    });
}

#[test]
fn subnets_stay_clear_of_each_other() {
    on_a_machine(|runtime| {
        let (first, _, _) = default_bridge(runtime).ensure().unwrap();
        let (second, gateway, _) = bridge_with(runtime, "abc", |_| ()).ensure().unwrap();
        assert!(!first.overlaps(second));
        assert_eq!(gateway, second.first_host());
        let clash = bridge_with(runtime, "def", |spec| spec.subnet = Some(Subnet::new(gateway, 24)));
        assert!(matches!(clash.ensure().unwrap_err(), BridgeError::SubnetInUse { .. }));
        let other = bridge_with(runtime, "abc", |spec| spec.subnet = Some(first));
        assert!(matches!(other.ensure().unwrap_err(), BridgeError::Mismatch { .. }));
    });
}

#[test]
fn many_at_once_get_addresses_of_their_own() {
    on_a_machine(|runtime| {
        let bridge = default_bridge(runtime);
        let started: Vec<_> = (0..16)
            .map(|_| {
                let bridge = bridge.clone();
                thread::spawn(move || connect(&bridge).unwrap())
            })
            .collect();
        let all: Vec<Connected> = started.into_iter().map(|one| one.join().unwrap()).collect();
        let mut addresses: Vec<_> = all.iter().map(|one| one.endpoint.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 16);
    });
}

#[test]
fn a_pool_gives_the_same_namespace_again() {
    on_a_machine(|runtime| {
        let pool = Pool::new(default_bridge(runtime));
        pool.prepare(1);
        let first = pool.acquire().unwrap().endpoint.clone();
        let lease = pool.acquire().unwrap();
        assert_eq!(lease.endpoint, first);
        let other = pool.acquire().unwrap();
        assert_ne!(other.endpoint, first);
        let spoilt = other.endpoint.clone();
        other.discard();
        drop(lease);
        assert_eq!(pool.acquire().unwrap().endpoint, first);
        assert_ne!(spoilt, first);
    });
}

#[test]
fn published_ports_lead_into_containers() {
    on_a_machine(|runtime| {
        let container = connect(&default_bridge(runtime)).unwrap();
        let port = who_are_you(&container.namespace);
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let address = IpAddr::from(container.endpoint.address);
        for (target, seen_from) in [
            (Target { address, namespace: None }, "10.88.0.1"),
            (Target { address: loopback, namespace: Some(&container.namespace) }, "127.0.0.1"),
        ] {
            let bound = publish(&Publication::parse(&port.to_string()).unwrap()).unwrap();
            let published: Vec<SocketAddr> = bound.iter().map(|one| one.binding.host).collect();
            assert_eq!(published.len(), 2, "{published:?}");
            let _proxy = Proxy::start(bound, target).unwrap();
            for host in ["127.0.0.1", "::1"] {
                let mut said = String::new();
                let mut stream = TcpStream::connect((host, published[0].port())).unwrap();
                stream.read_to_string(&mut said).unwrap();
                assert_eq!(said, seen_from);
            }
        }
    });
}

fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// Asks the name server of a namespace by a packet.
fn resolve(namespace: &NetNs, name: &str) -> Vec<u8> {
    let socket = namespace.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((resolver::EMBEDDED_SERVER, 53)).unwrap();
    socket.send(&question(name)).unwrap();
    let mut buffer = vec![0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

/// A name server on this machine's loopback whose answers can be told by their last byte.
fn start_upstream() {
    let upstream = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, client) = upstream.recv_from(&mut buffer).unwrap();
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer.push(42);
            upstream.send_to(&answer, client).unwrap();
        }
    });
}

#[test]
fn containers_find_each_other_by_name_and_others_by_asking() {
    on_a_machine(|runtime| {
        let bridge = bridge_with(runtime, "abc", |_| ());
        let names = bridge.names("backend");
        let (web, db) = (connect(&bridge).unwrap(), connect(&bridge).unwrap());
        names.register(&web.endpoint, &["web".into()]).unwrap();
        names.register(&db.endpoint, &["db".into(), "postgres".into()]).unwrap();
        start_upstream();
        let upstream = vec![Ipv4Addr::LOCALHOST.into()];
        let knowledge = Knowledge { networks: vec![names.clone()], upstream };
        let responder = Responder::start(&web.namespace, knowledge).unwrap();
        for name in ["db", "postgres.backend"] {
            assert!(resolve(&web.namespace, name).ends_with(&db.endpoint.address.octets()), "{name}");
        }
        assert_eq!(resolve(&web.namespace, "elsewhere.test").last(), Some(&42));
        drop(responder);

        let alone = Knowledge { networks: vec![names], upstream: Vec::new() };
        let _responder = Responder::start(&db.namespace, alone).unwrap();
        assert!(resolve(&db.namespace, "web").ends_with(&web.endpoint.address.octets()));
        assert_eq!(resolve(&db.namespace, "elsewhere.test")[3] & 0xf, 2);
        // A container may be a name server itself.
        assert!(db.namespace.run(|| UdpSocket::bind("0.0.0.0:53")).unwrap().is_ok());
    });
}

#[test]
fn the_name_server_answers_on_connections_too() {
    on_a_machine(|runtime| {
        let bridge = bridge_with(runtime, "abc", |_| ());
        let names = bridge.names("backend");
        let web = connect(&bridge).unwrap();
        names.register(&web.endpoint, &["web".into()]).unwrap();
        let knowledge = Knowledge { networks: vec![names], upstream: Vec::new() };
        let _responder = Responder::start(&web.namespace, knowledge).unwrap();
        let connect = || TcpStream::connect((resolver::EMBEDDED_SERVER, 53));
        let mut stream = web.namespace.run(connect).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..2 {
            let message = question("web");
            stream.write_all(&[0, u8::try_from(message.len()).unwrap()]).unwrap();
            stream.write_all(&message).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(length[1])];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.ends_with(&web.endpoint.address.octets()));
        }
    });
}

#[test]
fn nothing_is_left_when_a_bridge_is_removed() {
    on_a_machine(|runtime| {
        let bridge = default_bridge(runtime);
        let container = connect(&bridge).unwrap();
        bridge.names("x").register(&container.endpoint, &["web".into()]).unwrap();
        container.endpoint.detach().unwrap();
        assert!(bridge.remove_if_unused().unwrap());
        // a bridge that went without us leaves its names
        std::fs::create_dir_all(runtime.join("names").join(DEFAULT_BRIDGE)).unwrap();
        assert!(bridge.remove_if_unused().unwrap());
        let socket = Socket::netfilter().unwrap();
        assert_eq!(nftables::chains(&socket).unwrap(), []);
        assert_eq!(route::link(&Socket::route().unwrap(), DEFAULT_BRIDGE).unwrap(), None);
        assert_eq!(std::fs::read_dir(runtime.join("names")).unwrap().count(), 0);
    });
}
