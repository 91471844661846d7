use serde_json::Value;

use super::*;

#[test]
fn headers_are_written_and_read_as_rfc_9605_has_them() {
    let vectors = rfc9605();
    let headers = vectors["headers"].as_array().unwrap();
    assert!(headers.len() > 200);
    for vector in headers {
        let number = |at: usize| u64::from_str_radix(vector[at].as_str().unwrap(), 16).unwrap();
        let (header, encoded) = (Header { kid: number(0), counter: number(1) }, unhex(&vector[2]));
        assert_eq!(header.encode(&mut [0; Header::LONGEST]), encoded);
        assert_eq!(Header::decode(&encoded), Some((header, encoded.len())));
        assert_eq!(Header::decode(&encoded[..encoded.len() - 1]), None);
    }
}

#[test]
fn a_header_that_is_longer_than_it_need_be_is_none() {
    for padded in ["8000", "8007", "0803", "900001", "090001", "f00000000000000001"] {
        assert_eq!(Header::decode(&unhex(&padded.into())), None, "{padded}");
    }
}

#[test]
fn a_key_is_derived_as_rfc_9605_has_it() {
    let frame = &rfc9605()["frame"];
    let (kid, counter) = (frame["kid"].as_u64().unwrap(), frame["ctr"].as_u64().unwrap());
    let key = SframeKey::derive(&unhex(&frame["base_key"]), kid);
    assert_eq!(key.salt.as_slice(), unhex(&frame["sframe_salt"]));
    let mut sealed = unhex(&frame["pt"]);
    let additional = unhex(&frame["aad"]);
    key.key.seal_in_place_append_tag(key.nonce(counter), Aad::from(additional), &mut sealed).unwrap();
    assert!(unhex(&frame["ct"]).ends_with(&sealed));
}

#[test]
fn the_replay_window_agrees_with_a_plain_set_on_random_counters() {
    let (mut window, mut seen, mut highest, mut seed) = (ReplayWindow::default(), Vec::new(), 0_i64, 7_i64);
    for round in 0..20_000 {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        let counter = (highest + seed % 1_500 - 1_200).max(0);
        let fresh = !seen.contains(&counter) && (seen.is_empty() || highest - counter < WINDOW as i64);
        assert_eq!(window.is_fresh(counter as u64), fresh, "round {round}, counter {counter}");
        assert_eq!(window.accept(counter as u64), fresh, "round {round}, counter {counter}");
        if fresh {
            seen.push(counter);
            highest = highest.max(counter);
            seen.retain(|&seen| highest - seen < 2 * WINDOW as i64);
        }
    }
}

#[test]
fn a_jump_clears_the_replay_window_and_the_last_counter_ends_it() {
    let mut window = ReplayWindow::default();
    for counter in [0, 5, 1_023, 1_024, 10_000_000, 10_000_000 - 1_023, u64::MAX, u64::MAX - 1_023] {
        assert!(window.accept(counter) && !window.accept(counter), "{counter}");
    }
    assert!(!window.is_fresh(u64::MAX - 1_024) && !window.is_fresh(1));
}

fn rfc9605() -> Value {
    let text = include_str!("../../../../tests/e2ee/vectors/rfc9605.json");
    serde_json::from_str(text).unwrap()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
