//! Accepts connections and serves HTTP/1.1 (RFC 9112) on them, with limits on what a peer costs before it has said
//! anything: connections, header bytes, and time.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::counters::HttpRefusal;
use crate::server::Server;

/// Serves until `stop` resolves. Open connections live on in their tasks: [`Server::drain`] ends the WebSockets.
///
/// Only HTTP/1.1 is spoken, because WebSockets need no more; a TLS configuration should offer `http/1.1` by ALPN.
///
/// # Errors
/// None: failing to accept (as when files run out) is waited out.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    server: Server,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let tls = tls.map(TlsAcceptor::from);
    let free = Arc::new(Semaphore::new(server.shared().limits.connections));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            server.shared().counters.count_http(HttpRefusal::Connections);
            continue;
        };
        let (tls, server) = (tls.clone(), server.clone());
        tokio::spawn(async move {
            connection(stream, tls, server).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, server: Server) {
    // Signaling messages are small and waited for; a socket that refuses the option works all the same.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return http(stream, server).await };
    let header_timeout = server.shared().limits.header_timeout;
    match timeout(header_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, server).await,
        Ok(Err(_)) | Err(_) => server.shared().counters.count_http(HttpRefusal::Tls),
    }
}

/// Resolves when the connection closed, or became a WebSocket, which has limits of its own.
async fn http(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, server: Server) {
    let service = TowerToHyperService::new(server.router());
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.shared().limits.header_timeout)
        .max_buf_size(LARGEST_HEADER)
        .max_header_size(LARGEST_HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match timeout(LONGEST_EXCHANGE, serving).await {
        Ok(Err(error)) if error.is_timeout() || error.is_parse() || error.is_parse_too_large() => {
            server.shared().counters.count_http(HttpRefusal::Header);
        }
        Ok(_) | Err(_) => {}
    }
}

/// What browsers send is below 2 KiB; 8 KiB is the least that the HTTP library buffers.
const LARGEST_HEADER: usize = 8 * 1024;

/// Time enough to load the page at 10 kB/s; who reads no answer holds no memory for longer.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(120);

/// When files run out, connections must close before another can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
