//! What the host lets a guest do with sockets, as text.

use std::net::{IpAddr, SocketAddrV4};

use wasip3::clocks::monotonic_clock;
use wasip3::sockets::ip_name_lookup;
use wasip3::sockets::types::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket,
};
use wasip3::{wit_bindgen::StreamResult, wit_stream};

/// The addresses of a name, a line each.
pub async fn lookup(name: &str) -> String {
    match ip_name_lookup::resolve_addresses(name.to_owned()).await {
        Ok(found) => found
            .into_iter()
            .map(|address| format!("{}\n", readable(address)))
            .collect(),
        Err(error) => format!("{error:?}\n"),
    }
}

fn readable(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

/// Sends a text by TCP and gives what comes back.
pub async fn connect(address: &str, text: &str) -> String {
    match try_connect(address, text).await {
        Ok(answer) => answer,
        Err(error) => format!("{error:?}\n"),
    }
}

async fn try_connect(address: &str, text: &str) -> Result<String, ErrorCode> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.connect(parsed(address)?).await?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let (mut data, received) = socket.receive();
    // Its halves do without it.
    drop(socket);
    writer.write_all(text.as_bytes().to_vec()).await;
    drop(writer);
    sent.await?;
    let mut answer = Vec::new();
    loop {
        let (result, chunk) = data.read(Vec::with_capacity(1 << 10)).await;
        answer.extend(chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(data);
    received.await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends a text by UDP.
pub async fn send(address: &str, text: &str) -> String {
    let sent = async {
        let socket = UdpSocket::create(IpAddressFamily::Ipv4)?;
        let to = Some(parsed(address)?);
        socket.send(text.as_bytes().to_vec(), to).await
    };
    match sent.await {
        Ok(()) => "sent\n".to_owned(),
        Err(error) => format!("{error:?}\n"),
    }
}

/// Connects, keeps the receiving half only, and does so again while it may; then lets go of all
/// of them and connects once more.
pub async fn halves(count: usize, address: &str) -> String {
    let mut said = String::new();
    let mut kept = Vec::new();
    while kept.len() < count {
        match half(address).await {
            Ok(half) => kept.push(half),
            Err(error) => {
                said = format!("{} kept, then {error:?}\n", kept.len());
                break;
            }
        }
    }
    kept.clear();
    // The host hears of it at its next turn.
    for _ in 0..1000 {
        if half(address).await.is_ok() {
            return said + "and again\n";
        }
        monotonic_clock::wait_for(1_000_000).await;
    }
    said + "and never again\n"
}

async fn half(address: &str) -> Result<impl Sized, ErrorCode> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    socket.connect(parsed(address)?).await?;
    Ok(socket.receive())
}

fn parsed(address: &str) -> Result<IpSocketAddress, ErrorCode> {
    let address: SocketAddrV4 = address.parse().map_err(|_| ErrorCode::InvalidArgument)?;
    let [a, b, c, d] = address.ip().octets();
    Ok(IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    }))
}
