//! What clients say: a message that is read and written is read as the same again, and no host state is believed that
//! the host has not signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto_signaling::base64url::Base64Url;
use sotto_signaling::message::{CallId, ClientMessage};

fuzz_target!(|text: &str| {
    let Ok(message) = serde_json::from_str::<ClientMessage>(text) else { return };
    if matches!(message, ClientMessage::Unknown) {
        return;
    }
    let written = serde_json::to_string(&message).expect("what was read can be written");
    let again: ClientMessage = serde_json::from_str(&written).expect("what was written can be read");
    assert!(serde_json::to_string(&again).expect("likewise") == written);
    if let ClientMessage::Host { state } = message {
        assert!(state.check(&CallId(Base64Url([1; 16])), &Base64Url([2; 16])).is_err());
    }
});
