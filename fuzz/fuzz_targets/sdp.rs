//! Offers: what is answered has as many m-lines as were offered, and is answered the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sotto::sdp::Negotiation;

fuzz_target!(|offer: &str| {
    let addresses = [([192, 0, 2, 1], 3478).into()];
    let mut negotiation = Negotiation::new(&addresses, [1; 32], [2; 32]);
    let Ok(first) = negotiation.answer(offer) else { return };
    let count = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    assert!(count(&first.sdp) <= count(offer));
    let second = negotiation.answer(offer).expect("what was answered once is answered again");
    assert!(first.lines == second.lines && first.session.ice.local_ufrag == second.session.ice.local_ufrag);
    for (before, after) in first.session.slots.iter().zip(&second.session.slots) {
        assert!(before.ssrc == after.ssrc && before.rtx_ssrc == after.rtx_ssrc);
    }
});
