//! The whole core: one packet of a publisher in, one for each receiver out. Real keys, real rewriting; only the socket
//! is missing.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the simulation's parts begin virtual time"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sotto::relay::Datagram;
use sotto::relay::outbox::Path;

#[path = "../tests/simulation/allocation/count.rs"]
mod allocation;
#[allow(dead_code)]
#[path = "../tests/simulation/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/simulation/handshake.rs"]
mod handshake;
#[allow(dead_code)]
#[path = "../tests/simulation/track.rs"]
mod track;
#[allow(dead_code)]
#[path = "../tests/simulation/world.rs"]
mod world;

use client::Plan;
use world::World;

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    for receivers in [1usize, 10, 100] {
        let mut world = World::new(1);
        world.open(1);
        let publisher = world.join(1, Plan { pairs: 0, ..Plan::usual() });
        for _ in 0..receivers {
            let receiver = world.join(1, Plan { publishes: false, pairs: 1, ..Plan::usual() });
            world.bind_pair(receiver, 0, Some(publisher));
        }
        world.run_ms(3_000);
        let remote = world.clients[publisher].address;
        let world = std::cell::RefCell::new(world);
        group.throughput(Throughput::Elements(3 * receivers as u64));
        group.bench_function(BenchmarkId::from_parameter(receivers), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let world = &mut *world.borrow_mut();
                    world.now += Duration::from_millis(33);
                    let (now, mut frame) = (world.now, Vec::new());
                    let (mut hop, track, start) = world.clients[publisher].hop(1);
                    track.wants_key = false;
                    track.frame(start, now, &mut hop, &mut frame);
                    frame
                },
                |frame| {
                    let world = &mut *world.borrow_mut();
                    for bytes in frame {
                        let datagram = Datagram { path: Path { remote, local: None }, arrived: world.now, bytes };
                        world.relay.handle_datagram(world.now, datagram, &mut world.out);
                    }
                    black_box(&world.out);
                    world.out.clear();
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
