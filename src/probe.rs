//! Lets tests play a hostile or failing relay. Behind the `probe` feature, which no released binary has: what is read
//! here is chosen by the environment variable `SOTTO_PROBE`.
//!
//! - `flip` inverts every byte of the opened media, so that nothing of it may be rendered;
//! - `dump:<file>` appends what the relay can see of the media, each payload behind its length in four bytes, big-endian;
//! - `panic` panics in the call whose media ends in [`MAGIC`].

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Media that ends so makes the call panic, with `SOTTO_PROBE=panic`.
pub const MAGIC: &[u8] = b"sotto probe: panic here";

enum Probe {
    Off,
    Flip,
    Dump(Mutex<File>),
    Panic,
}

/// Sees one payload after the hop's decryption, its codec descriptor left out, and before it is forwarded.
pub fn opened(media: &mut [u8]) {
    static PROBE: OnceLock<Probe> = OnceLock::new();
    match PROBE.get_or_init(Probe::from_environment) {
        Probe::Off => {}
        Probe::Flip => media.iter_mut().for_each(|byte| *byte = !*byte),
        Probe::Dump(file) => {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let length = (media.len() as u32).to_be_bytes();
            file.write_all(&length).and_then(|()| file.write_all(media)).expect("the probe's file can be written");
        }
        Probe::Panic => assert!(!media.ends_with(MAGIC), "the probe was told to panic"),
    }
}

impl Probe {
    #[allow(clippy::disallowed_methods, reason = "no knob of the relay: it does not exist outside tests")]
    fn from_environment() -> Self {
        let Ok(value) = std::env::var("SOTTO_PROBE") else { return Probe::Off };
        match value.strip_prefix("dump:") {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Probe::Dump(Mutex::new(file.expect("the probe's file can be opened")))
            }
            None if value == "flip" => Probe::Flip,
            None if value == "panic" => Probe::Panic,
            None => Probe::Off,
        }
    }
}
