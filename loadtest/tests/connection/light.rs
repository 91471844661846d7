//! A connection of the `light` engine with a task of its own in the place of the engine's thread.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sotto_loadtest::clock::Moment;
use sotto_loadtest::engine::full::inbox::{Arrival, Inbox, Packet};
use sotto_loadtest::engine::light::connection::{Connection as Core, Parts};
use sotto_loadtest::engine::light::dtls::{Anchor, Identity};
use sotto_loadtest::engine::light::socket::{Batch, ClockPair, Socket};
use sotto_loadtest::engine::{Command, Event, Received};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

type Order = (Command, oneshot::Sender<Option<Event>>);

pub struct Connection {
    orders: mpsc::UnboundedSender<Order>,
    inbox: Arc<Inbox>,
}

struct Driver {
    core: Core,
    socket: AsyncFd<Socket>,
    connected: bool,
    batch: Batch,
    inbox: Arc<Inbox>,
    offered: Option<Event>,
}

impl Connection {
    pub async fn open() -> io::Result<Self> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let inbox = Arc::new(Inbox::default());
        let provider = rtc_crypto::default_provider().unwrap();
        #[allow(clippy::disallowed_methods)] // the library's clock has to begin somewhere
        let anchor = Anchor { instant: std::time::Instant::now(), moment: Moment::now() };
        let identity = Arc::new(Identity::generate(provider.as_ref()).unwrap());
        let random = ChaCha20Rng::from_seed(rand::random());
        let core = Core::new(Parts { provider, identity, anchor, random, check_one_in: 1 });
        #[allow(deprecated)] // its successor is unsafe; a socket of ours keeps its descriptor, as both ask for
        let socket = AsyncFd::new(Socket::for_peer(([127, 0, 0, 1], 9).into())?)?;
        let (batch, inbox_of_driver) = (Batch::new(), Arc::clone(&inbox));
        let driver = Driver { core, socket, connected: false, batch, inbox: inbox_of_driver, offered: None };
        tokio::spawn(driver.run(receiver));
        Ok(Self { orders, inbox })
    }

    pub async fn handle(&mut self, command: Command) -> Result<Option<Event>, Infallible> {
        let (reply, answer) = oneshot::channel();
        self.orders.send((command, reply)).unwrap_or_else(|_| panic!("the driver lives as long as this"));
        Ok(answer.await.unwrap())
    }

    pub async fn arrivals(&self) -> VecDeque<Arrival> {
        self.inbox.take().await
    }
}

impl Driver {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let wait = self.core.next_timeout().map_or(Duration::from_secs(60), |at| at.since(Moment::now()));
            tokio::select! {
                order = orders.recv() => {
                    let Some((command, reply)) = order else { return };
                    self.core.handle_command(Moment::now(), command);
                    self.settle();
                    let _ = reply.send(self.offered.take());
                }
                ready = self.socket.readable() => {
                    let mut ready = ready.unwrap();
                    if self.socket.get_ref().receive(&mut self.batch).is_err() {
                        ready.clear_ready();
                        continue;
                    }
                    drop(ready);
                    self.receive();
                }
                () = tokio::time::sleep(wait) => self.core.handle_timeout(Moment::now()),
            }
            self.settle();
        }
    }

    fn receive(&mut self) {
        let Self { core, batch, inbox, .. } = self;
        let clock = ClockPair::now();
        batch.each(clock, |arrived, datagram| {
            core.handle_datagram(clock.now, arrived, datagram, &mut |received| {
                inbox.push(Arrival::Packet(own(received)))
            });
        });
    }

    fn settle(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Offered { .. } => self.offered = Some(event),
                _ => self.inbox.push(Arrival::Event(event)),
            }
        }
        let socket = self.socket.get_ref();
        while let Some((to, check)) = self.core.poll_check() {
            let _ = socket.send_to(&check, to);
        }
        if let Some(remote) = self.core.remote().filter(|_| !self.connected) {
            socket.connect(remote).unwrap();
            self.connected = true;
        }
        let outbox = self.core.outbox();
        socket.send_all(&outbox.bytes, &outbox.lengths);
        outbox.clear();
    }
}

fn own(received: Received<'_>) -> Packet {
    let Received { slot, arrived, codec, marker, sequence, timestamp, repaired, payload, .. } = received;
    let payload = Bytes::copy_from_slice(payload.unwrap_or_default());
    Packet { slot, at: arrived, codec, marker, sequence, timestamp, repaired, payload }
}
