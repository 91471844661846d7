//! Known answers for the frames of the end-to-end encryption (RFC 9605), between the `sframe` crate and the page:
//! what the crate protects stands in one file that the page's tests open, and what the page protects in another.
//! Both are deterministic, so each side also writes its own file again and finds it unchanged.

use std::path::PathBuf;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use serde::{Deserialize, Serialize};
use sframe::CipherSuite;
use sframe::frame::{EncryptedFrameView, MediaFrameView, SingleUseCounter};
use sframe::key::{DecryptionKey, EncryptionKey};

#[test]
fn what_the_crate_protects_is_what_the_page_opens() {
    let written = serde_json::to_string_pretty(&cases().map(protect)).expect("vectors are plain values") + "\n";
    let path = vectors("rust.json");
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, &written).expect("the vectors folder is writable");
    }
    let committed = std::fs::read_to_string(&path).expect("the vectors are committed");
    assert!(committed == written, "rust.json differs from what the crate makes: WRITE_VECTORS=1 writes it");
}

#[test]
fn the_crate_opens_what_the_page_protects() {
    let page: Vec<Vector> = read("javascript.json");
    assert!(page.len() >= 6, "the page's vectors are missing");
    for vector in &page {
        assert_eq!(open(vector).as_deref(), Some(unhex(&vector.plaintext).as_slice()));
    }
}

#[test]
fn a_changed_clear_byte_or_sender_does_not_open() {
    let page: Vec<Vector> = read("javascript.json");
    for vector in &page {
        let mut other = vector.clone();
        other.identity = hex(&[9; 32]);
        assert_eq!(open(&other), None);
        if !vector.clear.is_empty() {
            let mut frame = unhex(&vector.frame);
            frame[0] ^= 2;
            assert_eq!(open(&Vector { frame: hex(&frame), ..vector.clone() }), None);
        }
    }
}

/// One protected frame; byte strings are hexadecimal.
#[derive(Clone, Serialize, Deserialize)]
struct Vector {
    /// The generation's base key at step 0.
    base: String,
    call: String,
    identity: String,
    generation: u32,
    step: u8,
    stream: u8,
    counter: u64,
    clear: String,
    plaintext: String,
    /// Clear bytes, SFrame header, ciphertext, tag.
    frame: String,
}

fn cases() -> [Vector; 6] {
    let case = |generation: u32, step: u8, stream: u8, counter: u64, clear: &[u8], plaintext: &[u8]| Vector {
        base: hex(&[generation as u8 ^ 0x5a; 32]),
        call: hex(&[0xca; 16]),
        identity: hex(&[stream.wrapping_add(1); 32]),
        generation,
        step,
        stream,
        counter,
        clear: hex(clear),
        plaintext: hex(plaintext),
        frame: String::new(),
    };
    [
        case(0, 0, 0, 0, &[], b"opus"),
        case(0, 0, 1, 7, &[0x50, 0, 0, 0x9d, 0x01, 0x2a, 0, 5, 0xd0, 2], &[1; 1200]),
        case(1, 0, 1, 8, &[0x31, 2, 0], b"a delta frame"),
        case(7, 8, 255, 255, &[], &[0; 64]),
        case(0x0102_0304, 3, 2, 65_536, &[], b"vp9"),
        case(u32::MAX, 1, 3, 1 << 40, &[], b""),
    ]
}

fn protect(mut vector: Vector) -> Vector {
    let clear = unhex(&vector.clear);
    let key = EncryptionKey::derive_from(CipherSuite::AesGcm128Sha256, kid(&vector), stepped(&vector))
        .expect("any base key can be expanded");
    let (plaintext, metadata) = (unhex(&vector.plaintext), metadata(&vector, &clear));
    let mut counter = SingleUseCounter::new(vector.counter);
    let frame = MediaFrameView::try_with_meta_data(&mut counter, &plaintext, &metadata)
        .and_then(|frame| frame.encrypt(&key))
        .expect("a small frame can be protected");
    vector.frame = hex(&[clear.as_slice(), frame.sframe_cipher_text()].concat());
    vector
}

fn open(vector: &Vector) -> Option<Vec<u8>> {
    let key = DecryptionKey::derive_from(CipherSuite::AesGcm128Sha256, kid(vector), stepped(vector)).ok()?;
    let frame = unhex(&vector.frame);
    let (clear, sframe) = frame.split_at(unhex(&vector.clear).len());
    let metadata = metadata(vector, clear);
    let opened = EncryptedFrameView::try_with_meta_data(sframe, &metadata).ok()?.decrypt(&key).ok()?;
    Some(opened.payload().to_vec())
}

fn kid(vector: &Vector) -> u64 {
    u64::from(vector.generation) << 16 | u64::from(vector.step) << 8 | u64::from(vector.stream)
}

/// The base key of the vector's step.
fn stepped(vector: &Vector) -> Vec<u8> {
    let mut base = unhex(&vector.base);
    for _ in 0..vector.step {
        let pseudorandom = Salt::new(HKDF_SHA256, b"sotto/1").extract(&base);
        let mut next = vec![0; 32];
        pseudorandom
            .expand(&[b"ratchet"], Length(32))
            .and_then(|output| output.fill(&mut next))
            .expect("32 bytes can be expanded");
        base = next;
    }
    base
}

fn metadata(vector: &Vector, clear: &[u8]) -> Vec<u8> {
    let fields: [&[u8]; 4] = [b"sotto/1", &unhex(&vector.call), &unhex(&vector.identity), clear];
    fields.iter().flat_map(|field| [&(field.len() as u16).to_be_bytes()[..], field].concat()).collect()
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let text = std::fs::read_to_string(vectors(name)).expect("the vectors are committed");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn vectors(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/e2ee/vectors", name].iter().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("the vectors are hexadecimal")).collect()
}

/// How many bytes HKDF is asked for.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
