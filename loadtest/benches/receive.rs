//! What receiving costs at least: CPU of a thread that does nothing but take packets off one blocking socket over
//! loopback and open them with AES-256-GCM. The engine for saturation is held against it: `us per packet` in its
//! reports, which counts everything that the tester does.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a program that prints a table

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use sotto_loadtest::engine::light::socket::Socket;

/// Payload of a full media packet with SFrame's trailer, and of sound.
const SIZES: [usize; 2] = [1180, 130];
/// Packets sent at once: one, and a frame of a picture.
const BURSTS: [usize; 2] = [1, 6];
const HEADER: usize = 24;
const PACKETS: u64 = 400_000;

fn main() {
    println!("payload  burst  ns of CPU per packet");
    for size in SIZES {
        for burst in BURSTS {
            println!("{size:7}  {burst:5}  {:.0}", plain(size, burst));
        }
    }
}

/// Nanoseconds of CPU per packet of the plain loop; the median of five tries.
fn plain(size: usize, burst: usize) -> f64 {
    let mut tries: Vec<f64> = (0..5).map(|_| once(size, burst)).collect();
    tries.sort_by(f64::total_cmp);
    tries[tries.len() / 2]
}

fn once(size: usize, burst: usize) -> f64 {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let to = receiver.local_addr().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| send(to, &sealed(size), burst, &done));
        let (key, mut buffer) = (key(), [0; 2048]);
        let begin = thread_time();
        for _ in 0..PACKETS {
            let length = receiver.recv(&mut buffer).unwrap();
            let (header, body) = buffer[..length].split_at_mut(HEADER);
            key.open_in_place(nonce(), Aad::from(&*header), body).unwrap();
        }
        let took = thread_time() - begin;
        done.store(true, Ordering::Relaxed);
        took / PACKETS as f64
    })
}

fn send(to: SocketAddr, packet: &[u8], burst: usize, done: &AtomicBool) {
    let socket = Socket::for_peer(to).unwrap();
    socket.connect(to).unwrap();
    let (bytes, lengths) = (packet.repeat(burst), vec![packet.len() as u16; burst]);
    while !done.load(Ordering::Relaxed) {
        socket.send_all(&bytes, &lengths);
    }
}

fn sealed(size: usize) -> Vec<u8> {
    let mut packet = vec![7; HEADER + size];
    let (header, body) = packet.split_at_mut(HEADER);
    let tag = key().seal_in_place_separate_tag(nonce(), Aad::from(&*header), body).unwrap();
    packet.extend_from_slice(tag.as_ref());
    packet
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[5; 32]).unwrap())
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([9; 12])
}

fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
