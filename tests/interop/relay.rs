//! The relay's binary, started for one test and stopped with it.

use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

pub struct Relay {
    process: Child,
    _data: tempfile::TempDir,
    /// Port of pages and signaling.
    pub http: u16,
    /// Port of the one worker.
    pub media: u16,
}

impl Relay {
    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (http, admin, media) = (free_tcp(), free_tcp(), free_udp());
        let process = Command::new(env!("CARGO_BIN_EXE_sotto"))
            .args(["--http", &format!("127.0.0.1:{http}"), "--admin", &format!("127.0.0.1:{admin}")])
            .args(["--media-port", &media.to_string(), "--workers", "1", "--log", "warn", "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let relay = Self { process, _data: data, http, media };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", http)).await.is_ok() {
                return relay;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the relay did not come up within 10 s");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_tcp() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
