//! The tokio runtime as the `webrtc` crate has it, with sockets that note when the kernel had a datagram.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit, UdpSockRef, UdpSocketState,
};

use super::inbox::Inbox;
use crate::clock::Moment;

/// The runtime of one connection: its sockets tell that connection's inbox of arrivals.
pub struct Stamping {
    tokio: TokioRuntime,
    inbox: Arc<Inbox>,
}

impl Stamping {
    /// Stamps for this inbox.
    pub fn new(inbox: Arc<Inbox>) -> Self {
        Self { tokio: TokioRuntime, inbox }
    }
}

impl std::fmt::Debug for Stamping {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Stamping")
    }
}

impl Runtime for Stamping {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn wrap_udp_socket(&self, nominal: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let nominal = nominal.local_addr()?;
        let socket = tokio::net::UdpSocket::from_std(anywhere(nominal.is_ipv4())?)?;
        let batches = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Arc::new(Socket { nominal, socket, batches, inbox: Arc::clone(&self.inbox) }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.tokio.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

/// The crate knows it by an address on which it will not be reached: a relay of ICE-lite learns ours from our checks,
/// and the kernel chooses the way when the relay's is known, which is after the crate wants a socket.
struct Socket {
    nominal: SocketAddr,
    socket: tokio::net::UdpSocket,
    batches: UdpSocketState,
    inbox: Arc<Inbox>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Socket")
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.nominal)
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_send_ready(context))?;
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                self.batches.try_send(UdpSockRef::from(&self.socket), transmit)?;
                Ok(transmit.contents.len())
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(context))?;
            // One message a call, since all that a call brings shares one time; the kernel joins datagrams that came
            // together into one message, so that costs little.
            let (buffer, meta) = (&mut buffers[..1], &mut metas[..1]);
            let received = self
                .socket
                .try_io(Interest::READABLE, || self.batches.recv(UdpSockRef::from(&self.socket), buffer, meta));
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    for meta in &mut metas[..count] {
                        meta.stride = meta.stride.max(1); // it steps over the datagrams, and may not stand still
                        self.inbox.set_arrival(arrival(meta.timestamp));
                    }
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    fn max_gso_segments(&self) -> usize {
        self.batches.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.batches.gro_segments()
    }
}

/// A socket on every address of the machine.
fn anywhere(ipv4: bool) -> io::Result<std::net::UdpSocket> {
    let (domain, address) = match ipv4 {
        true => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        false => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
    };
    let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if !ipv4 {
        socket.set_only_v6(true)?;
    }
    // Bursts of a key frame for each of many streams come faster than the driver is scheduled. The kernel grants what
    // it may; drops at its door are counted by it.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The kernel's time of day as a [`Moment`]; now, where the kernel did not say.
#[allow(clippy::disallowed_methods, reason = "the kernel tells arrivals by the time of day alone")]
fn arrival(stamp: Option<Duration>) -> Moment {
    let (now, today) = (Moment::now(), SystemTime::now());
    let ago = stamp.and_then(|stamp| today.duration_since(UNIX_EPOCH + stamp).ok());
    // A clock that was set in between would say anything.
    now - ago.filter(|&ago| ago < CREDIBLE).unwrap_or_default()
}

/// Holds what 20 Mbit/s bring in a second; more than is granted without privileges.
const RECEIVE_BUFFER: usize = 4 << 20;
/// A datagram waits at most for so long, with a buffer of a second or two.
const CREDIBLE: Duration = Duration::from_secs(10);
