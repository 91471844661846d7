//! The VP8 payload descriptor: a patched descriptor reads the same but for what was patched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::rtp::vp8::Descriptor;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (picture_id, tl0_index, payload) = input;
    let Ok(before) = Descriptor::parse(payload) else { return };
    let prefix = before.patch(payload, picture_id, tl0_index);
    let patched = [&prefix, &payload[prefix.len()..]].concat();
    let after = Descriptor::parse(&patched).expect("a patched descriptor parses");
    assert_eq!(Descriptor { picture_id: before.picture_id, tl0_index: before.tl0_index, ..after }, before);
    assert_eq!(after.tl0_index, before.tl0_index.map(|_| tl0_index));
});
