//! What the tunnel is made of, and how its datagrams are classed.

use super::*;

/// No field can hold a DTLS association or an SRTP context: a field that is added does not compile here until it is
/// named, and none of the files that the named types come from knows of either.
#[test]
fn the_tunnel_has_no_place_for_a_key_of_the_browsers() {
    fn parts(tunnel: Tunnel) -> Option<(LegKey, LegKey, Link, Bucket)> {
        let Tunnel { legs } = tunnel;
        let [first, _]: [Option<Leg>; 2] = legs;
        first.map(|Leg { key, other, link, budget }| (key, other, link, budget))
    }
    assert!(parts(Tunnel::default()).is_none());
    let sources = [include_str!("../tunnel.rs"), include_str!("../link.rs"), include_str!("../bucket.rs")];
    for source in sources.into_iter().chain([include_str!("../../transport/ice.rs")]) {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in ["srtp", "dtls", "certificate", "Inbound", "Outbound", "Downlink", "Handshake", "aead"] {
                let dispatch = line.contains("Protocol::");
                assert!(dispatch || !line.contains(word), "{line}");
            }
        }
    }
}

#[test]
fn sound_and_control_outlast_video_where_the_socket_is_full() {
    assert!(class(Some(Protocol::Video), &[0x90; 1_150]) == Class::Video);
    assert!(class(Some(Protocol::Video), &[0x90; 120]) == Class::Audio);
    for protocol in [Some(Protocol::Dtls), Some(Protocol::Rtcp), None] {
        assert!(class(protocol, &[0x90; 1_150]) == Class::Control);
    }
}
