//! Calls in virtual time, among peers and with the page itself; and known answers.

mod conversation;
mod host;
mod hostile;
mod keys;
mod page;
mod presence;
mod vectors;
mod world;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("bytes are hexadecimal")).collect()
}
