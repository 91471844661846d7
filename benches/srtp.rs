//! What protecting and opening one packet costs: 1,150 bytes as of a camera, 120 as of a microphone; a fan-out of one
//! payload to many receivers' keys, each into its own arena.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sotto::rtp::header::Header;
use sotto::session::Ssrc;
use sotto::transport::srtp::{Inbound, MasterKey, Outbound, Profile};

const PROFILES: [(Profile, &str); 3] = [
    (Profile::Aes128Gcm, "aes-128-gcm"),
    (Profile::Aes256Gcm, "aes-256-gcm"),
    (Profile::Aes128CmSha1_80, "aes-128-cm-sha1-80"),
];

/// Datagrams that gather in an arena before it is sent and emptied.
const BATCH: usize = 16;

fn master(profile: Profile, seed: u8) -> MasterKey {
    MasterKey::new(profile, &[seed; 32][..profile.key_len()], &[seed ^ 0x5a; 14][..profile.salt_len()])
        .expect("the lengths are the profile's")
}

fn header(index: u64) -> ([u8; 64], usize) {
    let mut out = [0; 64];
    let header = Header { marker: false, payload_type: 96, sequence: index as u16, timestamp: 1, ssrc: Ssrc(7) };
    let len = header.write([(1, &b"0"[..]), (3, &[1, 2])], &mut out).expect("64 bytes are enough");
    (out, len)
}

fn protect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("protect");
    for (profile, name) in PROFILES {
        for size in [120, 1_150] {
            let payload = vec![0x42; size];
            group.throughput(Throughput::Bytes(size as u64));
            let mut index = 0;
            let mut outbound = Outbound::new(profile, &master(profile, 1));
            let mut arena = Vec::new();
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    index += 1;
                    if index % BATCH as u64 == 0 {
                        arena.clear();
                    }
                    let (header, len) = header(index);
                    outbound.protect_rtp(index, &header[..len], &payload, &mut arena).expect("young key");
                });
            });
            arena.clear();
            group.bench_function(BenchmarkId::new(format!("{name}-parts"), size), |bencher| {
                bencher.iter(|| {
                    index += 1;
                    if index % BATCH as u64 == 0 {
                        arena.clear();
                    }
                    let (header, len) = header(index);
                    let (prefix, rest) = payload.split_at(6);
                    outbound.protect_rtp_parts(index, &header[..len], prefix, rest, &mut arena).expect("young key");
                });
            });
        }
    }
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let profile = Profile::Aes128Gcm;
    let payload = vec![0x42; 1_150];
    let mut group = criterion.benchmark_group("fan_out");
    let receivers = 100;
    let mut outbounds: Vec<_> = (0..receivers).map(|seed| Outbound::new(profile, &master(profile, seed))).collect();
    let mut arenas = vec![Vec::new(); receivers.into()];
    let mut index = 0;
    group.throughput(Throughput::Elements(receivers.into()));
    group.bench_function("100_receivers", |bencher| {
        bencher.iter(|| {
            index += 1;
            for (outbound, arena) in outbounds.iter_mut().zip(&mut arenas) {
                if index % BATCH as u64 == 0 {
                    arena.clear();
                }
                let (header, len) = header(index);
                outbound.protect_rtp(index, &header[..len], &payload, arena).expect("young key");
            }
        });
    });
    group.finish();
}

fn unprotect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unprotect");
    for (profile, name) in PROFILES {
        for size in [120, 1_150] {
            let payload = vec![0x42; size];
            let mut index = 0;
            let mut outbound = Outbound::new(profile, &master(profile, 1));
            let mut inbound = Inbound::new(profile, &master(profile, 1));
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        index += 1;
                        let (header, len) = header(index);
                        let mut packet = Vec::new();
                        outbound.protect_rtp(index, &header[..len], &payload, &mut packet).expect("young key");
                        packet
                    },
                    |packet| inbound.unprotect_rtp(packet).expect("genuine and new"),
                    criterion::BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, protect, fan_out, unprotect);
criterion_main!(benches);
