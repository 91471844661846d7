//! The relay's candidates in an answer (RFC 8839, section 5.1), replaced by the address of the impaired network.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Why an answer could not be led around.
#[derive(Debug, thiserror::Error)]
pub enum DetourError<E> {
    /// There is no UDP candidate that could be replaced.
    #[error("the relay's answer has no UDP candidate, so its network cannot be impaired")]
    NoCandidate,
    /// The impaired network could not be opened.
    #[error(transparent)]
    Open(#[from] E),
}

/// Replaces the relay's candidates by one, which `open` tells for the relay's address: the first of IPv4, where there
/// is one. The others go, since a peer has one network. An answer to a later offer names the same relay, so `open`
/// should tell the same address for it again.
///
/// # Errors
/// Where the answer has no candidate, or `open` fails.
pub fn detour_answer<E: fmt::Debug>(
    sdp: &str,
    mut open: impl FnMut(SocketAddr) -> Result<SocketAddr, E>,
) -> Result<String, DetourError<E>> {
    let candidates = || sdp.lines().filter_map(address);
    let relay = candidates().find(SocketAddr::is_ipv4).or_else(|| candidates().next());
    let relay = relay.ok_or(DetourError::NoCandidate)?;
    let detour = open(relay)?;
    let mut led = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        if !line.starts_with(CANDIDATE) {
            led.push_str(line);
        } else if address(line) == Some(relay) {
            led.push_str(&replaced(line, detour));
        } else {
            continue;
        }
        led.push_str("\r\n");
    }
    Ok(led)
}

/// The address of a UDP candidate.
fn address(line: &str) -> Option<SocketAddr> {
    let mut fields = line.strip_prefix(CANDIDATE)?.split(' ');
    let (Some(transport), Some(ip), Some(port)) = (fields.nth(TRANSPORT), fields.nth(1), fields.next()) else {
        return None;
    };
    let ip: IpAddr = ip.parse().ok()?;
    transport.eq_ignore_ascii_case("udp").then_some(SocketAddr::new(ip, port.parse().ok()?))
}

fn replaced(line: &str, detour: SocketAddr) -> String {
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    fields[ADDRESS] = detour.ip().to_string();
    fields[ADDRESS + 1] = detour.port().to_string();
    fields.join(" ")
}

const CANDIDATE: &str = "a=candidate:";
/// Place of the transport: foundation and component come before.
const TRANSPORT: usize = 2;
/// Place of the address: behind transport and priority.
const ADDRESS: usize = 4;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const ANSWER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2130706431 ::1 3478 typ host\r\n\
        a=candidate:2 1 UDP 2130706175 127.0.0.1 3478 typ host\r\n\
        a=candidate:3 1 udp 2130705919 192.0.2.7 3478 typ host\r\n\
        a=candidate:4 1 tcp 1 127.0.0.1 9 typ host tcptype passive\r\na=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";

    #[test]
    fn the_peer_learns_the_detour_and_no_other_way() {
        let mut asked = Vec::new();
        let led = detour_answer(ANSWER, |relay| {
            asked.push(relay);
            Ok::<_, Infallible>("127.0.0.1:40000".parse().unwrap())
        });
        let led = led.unwrap();
        assert_eq!(asked, ["127.0.0.1:3478".parse::<SocketAddr>().unwrap()]);
        let candidates: Vec<_> = led.lines().filter(|line| line.starts_with(CANDIDATE)).collect();
        assert_eq!(candidates, ["a=candidate:2 1 UDP 2130706175 127.0.0.1 40000 typ host"]);
        let rest = |sdp: &str| sdp.lines().filter(|line| !line.starts_with(CANDIDATE)).count();
        assert_eq!(rest(&led), rest(ANSWER), "nothing else changes");
        assert!(led.ends_with("a=mid:1\r\n"));
    }

    #[test]
    fn an_answer_with_ipv6_alone_is_led_around_too() {
        let sdp = "a=candidate:1 1 udp 2130706431 2001:db8::1 3478 typ host\r\n";
        let led = detour_answer(sdp, |relay| {
            assert_eq!(relay, "[2001:db8::1]:3478".parse::<SocketAddr>().unwrap());
            Ok::<_, Infallible>("[::1]:4".parse().unwrap())
        });
        assert_eq!(led.unwrap(), "a=candidate:1 1 udp 2130706431 ::1 4 typ host\r\n");
    }

    #[test]
    fn an_answer_without_candidates_is_refused_rather_than_left_unimpaired() {
        for sdp in ["", "v=0\r\n", "a=candidate:1 1 udp\r\n", "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host\r\n"] {
            let led = detour_answer(sdp, |_| Ok::<_, Infallible>("127.0.0.1:1".parse().unwrap()));
            assert!(matches!(led, Err(DetourError::NoCandidate)), "{sdp}");
        }
        let failed = detour_answer(ANSWER, |_| Err(std::io::Error::other("no descriptors")));
        assert!(matches!(failed, Err(DetourError::Open(_))));
    }
}
