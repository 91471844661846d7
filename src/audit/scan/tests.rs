//! Every form is found wherever it stands, and what is not there is not found.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;

const NAME: &str = "Anaïs Sturm?~";
const KEY: [u8; 16] = [0xfb, 0xef, 0x3e, 0x00, 0x7f, 0xff, 0x9c, 0x01, 0xa0, 0xb1, 0xc2, 0xd3, 0xe4, 0xf5, 0x06, 0x17];
const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 201, 254);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0xa, 0, 0, 0x1234);

fn canaries() -> Vec<(usize, Canary)> {
    let key: String = KEY.iter().map(|byte| format!("{byte:02X}")).collect();
    Canary::parse_all(&format!("text:{NAME}\nhex:{key}\nip:{V4}\nip:{V6}\n")).unwrap()
}

fn scanner() -> Scanner {
    Scanner::new(&canaries()).unwrap()
}

fn hits(scanner: &Scanner, bytes: &[u8]) -> Vec<Hit> {
    scanner.stream(&mut &bytes[..], Path::new("stream")).unwrap()
}

fn lines(hits: &[Hit]) -> BTreeSet<usize> {
    hits.iter().map(|hit| hit.line).collect()
}

use std::collections::BTreeSet;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(bytes: &[u8], every: bool) -> String {
    let plain = |byte: &u8| !every && byte.is_ascii_alphanumeric();
    let one = |byte: &u8| if plain(byte) { (*byte as char).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().map(one).collect()
}

/// The bytes in base64 behind none, one and two others of a triple and before none, one and two.
fn base64s(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (before, after) in (0..3).flat_map(|before| (0..3).map(move |after| (before, after))) {
        let padded = [&vec![0xb7; before], bytes, &vec![0x5a; after]].concat();
        all.push(STANDARD.encode(&padded).into_bytes());
        all.push(URL_SAFE.encode(&padded).into_bytes());
        all.push(URL_SAFE.encode(&padded).trim_end_matches('=').as_bytes().to_vec());
    }
    all
}

/// Made by other means than the patterns are.
fn plants() -> Vec<(usize, Vec<u8>)> {
    let mut all: Vec<(usize, Vec<u8>)> = Vec::new();
    let [a, b, c, d] = V4.octets();
    let texts = [
        (1, NAME.to_owned()),
        (1, NAME.to_uppercase().replace('Ï', "ï")),
        (1, percent(NAME.as_bytes(), true)),
        (1, percent(NAME.as_bytes(), true).to_lowercase()),
        (1, percent(NAME.as_bytes(), false)),
        (1, percent(NAME.as_bytes(), false).replace("%20", "+")),
        (1, serde_json::to_string(NAME).unwrap().replace('ï', "\\u00ef")),
        (1, NAME.escape_default().to_string()),
        (1, NAME.escape_unicode().to_string()),
        (1, format!("{:?}", NAME.as_bytes())),
        (1, hex(NAME.as_bytes())),
        (1, hex(NAME.as_bytes()).to_uppercase()),
        (2, hex(&KEY)),
        (2, hex(&KEY).to_uppercase()),
        (2, format!("{KEY:?}")),
        (2, format!("{KEY:02x?}").replace(", ", ":")),
        (2, percent(&KEY, true)),
        (2, KEY.escape_ascii().to_string()),
        (3, V4.to_string()),
        (3, format!("{V4}:3478")),
        (3, format!("::ffff:{V4}")),
        (3, format!("::ffff:{:x}:{:x}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        (3, hex(&V4.octets())),
        (3, hex(&V4.octets()).to_uppercase()),
        (3, hex(V4.to_string().as_bytes())),
        (3, format!("{:?}", V4.octets())),
        (3, u32::from(V4).to_string()),
        (3, format!("ip-{a}-{b}-{c}-{d}.example.org")),
        (3, format!("{d}.{c}.{b}.{a}.in-addr.arpa")),
        (3, percent(V4.to_string().as_bytes(), true)),
        (4, V6.to_string()),
        (4, V6.to_string().to_uppercase()),
        (4, format!("[{V6}]:3478")),
        (4, V6.segments().map(|part| format!("{part:04x}")).join(":")),
        (4, V6.segments().map(|part| format!("{part:X}")).join(":")),
        (4, percent(V6.to_string().as_bytes(), false)),
        (4, hex(&V6.octets())),
        (4, format!("{:?}", V6.octets())),
        (4, format!("{:?}", V6.segments())),
    ];
    all.extend(texts.map(|(line, text)| (line, text.into_bytes())));
    all.push((1, NAME.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    for (line, bytes) in [(2, KEY.to_vec()), (3, V4.octets().to_vec()), (4, V6.octets().to_vec())] {
        all.push((line, bytes));
    }
    all.push((3, (u32::from(V4) ^ 0x2112_a442).to_be_bytes().to_vec()));
    let encoded = [
        (1, NAME.as_bytes().to_vec()),
        (2, KEY.to_vec()),
        (3, V4.octets().to_vec()),
        (3, V4.to_string().into_bytes()),
        (4, V6.octets().to_vec()),
        (4, V6.to_string().into_bytes()),
    ];
    for (line, bytes) in encoded {
        all.extend(base64s(&bytes).into_iter().map(|text| (line, text)));
    }
    all
}

#[test]
fn a_planted_leak_is_caught_in_every_form() {
    let scanner = scanner();
    for (line, plant) in plants() {
        let text = String::from_utf8_lossy(&plant).into_owned();
        for surroundings in [&b""[..], b"\0", b" ", b"\"", b"|/|"] {
            let found = hits(&scanner, &[surroundings, &plant, surroundings].concat());
            assert_eq!(lines(&found), BTreeSet::from([line]), "{text} beside {surroundings:?}: {found:?}");
        }
    }
}

#[test]
fn a_leak_across_the_border_of_two_pieces_is_caught_and_counted_once() {
    let scanner = scanner();
    for (line, plant) in plants().into_iter().step_by(3) {
        for into in [0, 1, plant.len() / 2, plant.len() - 1, plant.len(), plant.len() + 1] {
            let mut bytes = vec![b'.'; CHUNK - into];
            bytes.extend_from_slice(&plant);
            bytes.resize(2 * CHUNK + 7, b'.');
            let found = hits(&scanner, &bytes);
            let text = String::from_utf8_lossy(&plant).into_owned();
            assert!(found.iter().any(|hit| hit.line == line), "{text} {into} bytes before the border");
            for hit in found {
                assert_eq!((hit.line, hit.times), (line, 1), "{text} {into} bytes before the border: {hit:?}");
            }
        }
    }
}

#[test]
fn neighbours_of_an_address_are_not_taken_for_it() {
    let scanner = scanner();
    for text in [
        "10.77.201.25",
        "110.77.201.254",
        "10.77.201.2541",
        "10.77.20.1.254",
        "1.10-77-201-2540",
        "fd00:77::a:0:0:12345",
        "1fd00:77::a:0:0:1234",
        "fd00:77:0:0:a::1234:1",
        "AnaisSturm",
        "1728701420",
        "[10, 77, 201]",
    ] {
        assert_eq!(hits(&scanner, text.as_bytes()), [], "{text}");
    }
}

#[test]
fn clean_bytes_of_every_kind_hold_no_hit() {
    let scanner = scanner();
    let seed = 4;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut bytes = vec![0; 8 << 20];
    random.fill_bytes(&mut bytes);
    assert_eq!(hits(&scanner, &bytes), [], "random bytes, seed {seed}");
    assert_eq!(hits(&scanner, STANDARD.encode(&bytes).as_bytes()), [], "base64, seed {seed}");
    assert_eq!(hits(&scanner, hex(&bytes[..2 << 20]).as_bytes()), [], "hex, seed {seed}");
    let numbers: String = (0..200_000).map(|_| format!("{}.", random.random_range(0..256))).collect();
    assert_eq!(hits(&scanner, numbers.as_bytes()), [], "numbers, seed {seed}");
}

#[test]
fn names_of_files_links_and_folders_are_searched_too() {
    let folder = tempfile::tempdir().unwrap();
    let scanner = scanner();
    let mut extent = Extent::default();
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    std::fs::File::create(folder.path().join("inner/file")).unwrap().write_all(b"nothing").unwrap();
    assert_eq!(scanner.path(folder.path(), &mut extent).unwrap(), []);
    assert_eq!(extent, Extent { files: 1, bytes: 7 });
    std::fs::write(folder.path().join(format!("inner/{V4}.log")), "").unwrap();
    std::os::unix::fs::symlink(format!("/nowhere/{NAME}"), folder.path().join("link")).unwrap();
    let found = scanner.path(folder.path(), &mut extent).unwrap();
    assert_eq!(lines(&found), BTreeSet::from([1, 3]));
    assert!(found.iter().all(|hit| hit.form == "in its name"), "{found:?}");
    assert!(scanner.path(&folder.path().join("missing"), &mut extent).is_err());
}
