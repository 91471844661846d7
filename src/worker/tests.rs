//! The thread's loop around a core that echoes.

use std::net::UdpSocket;

use super::*;
use crate::relay::command::CallKey;
use crate::relay::outbox::Class;
use crate::relay::outbox::RunKey;

/// Echoes datagrams; `Open` is answered with `Failed`, and call 13 is bad luck.
struct Echo {
    run: Option<RunKey>,
    counters: Counters,
    due: Option<Instant>,
    peer: Option<Path>,
}

impl Echo {
    fn new(_: Instant) -> Self {
        Self { run: None, counters: Counters::default(), due: None, peer: None }
    }
}

impl Core for Echo {
    fn handle_datagram(&mut self, now: Instant, path: Path, arrived: Instant, bytes: &mut [u8], out: &mut Outbox) {
        assert!(arrived <= now);
        let run = *self.run.get_or_insert_with(|| out.open());
        out.set_path(run, path);
        out.push(run, Class::Video, |arena| arena.extend_from_slice(bytes));
        self.peer = Some(path);
        if bytes == b"later" {
            self.due = Some(now + Duration::from_millis(30));
        }
    }

    fn handle_command(&mut self, _: Instant, command: Command, out: &mut Outbox) {
        if let Command::Open { call } = command {
            assert!(call != CallKey(13), "planted");
            self.counters.calls += 1;
            out.events.push(Event::Failed { call });
        }
    }

    fn handle_timeout(&mut self, _: Instant, out: &mut Outbox) {
        self.due = None;
        if let Some(peer) = self.peer {
            out.push_single(peer, |bytes| bytes.extend_from_slice(b"due"));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

struct Running {
    worker: Worker,
    events: mpsc::Receiver<Event>,
    failed: mpsc::Receiver<WorkerError>,
    peer: UdpSocket,
}

fn start(event_room: usize) -> Running {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (events, event_inbox) = mpsc::channel(event_room);
    let (failed, failures) = mpsc::channel(1);
    let worker = Worker::start(0, socket, Echo::new, events, failed).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(worker.handle().address()).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Running { worker, events: event_inbox, failed: failures, peer }
}

fn receive(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = peer.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[tokio::test]
async fn datagrams_come_back_and_media_among_them_is_timed() {
    let running = start(8);
    for index in 0..50u8 {
        running.peer.send(&[128, 96, index]).unwrap();
    }
    running.peer.send(b"no media").unwrap();
    for index in 0..50u8 {
        assert_eq!(receive(&running.peer), [128, 96, index]);
    }
    assert_eq!(receive(&running.peer), b"no media");
    let report = running.worker.handle().report(Duration::from_secs(5)).await.unwrap();
    assert_eq!(report.latency.buckets.iter().sum::<u64>(), 50);
    assert!(report.latency.sum < Duration::from_secs(5));
    running.worker.stop();
}

#[tokio::test]
async fn a_deadline_is_kept_without_traffic() {
    let running = start(8);
    let start = Instant::now();
    running.peer.send(b"later").unwrap();
    assert_eq!(receive(&running.peer), b"later");
    assert_eq!(receive(&running.peer), b"due");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(30) && took < Duration::from_secs(2), "{took:?}");
    running.worker.stop();
}

#[tokio::test]
async fn events_that_are_not_taken_at_once_come_later_and_in_order() {
    let mut running = start(2);
    for key in 100..150 {
        running.worker.handle().try_send(Command::Open { call: CallKey(key) }).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    for key in 100..150 {
        match running.events.recv().await {
            Some(Event::Failed { call }) => assert!(call == CallKey(key)),
            _ => panic!("an event is missing"),
        }
    }
    let report = running.worker.handle().report(Duration::from_secs(5)).await.unwrap();
    assert_eq!((report.counters.calls, report.events_lost), (50, 0));
    running.worker.stop();
}

#[tokio::test]
async fn a_panic_outside_a_call_is_told_and_later_commands_are_refused() {
    let mut running = start(8);
    running.worker.handle().send(Command::Open { call: CallKey(13) }).unwrap();
    assert!(matches!(running.failed.recv().await, Some(WorkerError::Panic(0))));
    while !running.worker.thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(running.worker.handle().try_send(Command::Open { call: CallKey(1) }), Err(Overloaded));
    assert!(running.worker.handle().report(Duration::from_secs(1)).await.is_none());
}

#[tokio::test]
async fn a_stopped_worker_frees_its_port() {
    let running = start(8);
    let address = running.worker.handle().address();
    running.worker.stop();
    assert!(UdpSocket::bind(address).is_ok());
}
