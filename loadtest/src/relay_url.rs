//! Where a relay is reached: the URL of its page, from which follow the host that joins are signed for, the URL of its
//! signaling, and the links of its calls.

use std::fmt;

use zeroize::Zeroizing;

/// The URL of a relay's page. Not printable: it may name a machine that nobody else should hear of.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayUrl {
    /// As joins are signed for it.
    host_name: String,
    /// Where to connect, with the port.
    address: String,
}

/// A text that is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum RelayUrlError {
    #[error("{0} is no address of a relay; write it as http://127.0.0.1:8080")]
    Form(&'static str),
    #[error(
        "{0} is https, which this tester does not speak; run it on the relay's machine against its http address, \
         or start a relay with --spawn"
    )]
    Https(&'static str),
}

impl RelayUrl {
    /// Reads `http://host:port`, as --relay has it.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, RelayUrlError> {
        Self::read(text, "--relay")
    }

    /// The relay of a call's link, and where to connect to it when that is another place.
    ///
    /// # Errors
    ///
    /// Where one of them is no URL.
    pub fn of_link(link: &str, relay: Option<&str>) -> Result<Self, RelayUrlError> {
        let address = relay.map(Self::parse).transpose()?.map(|relay| relay.address);
        let (page, _) = link.split_once('#').ok_or(RelayUrlError::Form("--link"))?;
        // A page under https may be reached by http behind its proxy.
        let page = if address.is_some() { page.replacen("https://", "http://", 1) } else { page.to_owned() };
        let of_link = Self::read(&page, "--link")?;
        Ok(Self { address: address.unwrap_or(of_link.address), ..of_link })
    }

    /// Of a relay that serves its page here.
    pub fn of_host(host_name: &str) -> Self {
        let address = if has_port(host_name) { host_name.to_owned() } else { format!("{host_name}:80") };
        Self { host_name: host_name.to_owned(), address }
    }

    /// The host, with the port where a browser shows one; joins are signed for it.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// Host and port to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL of its signaling.
    pub fn signaling(&self) -> String {
        format!("ws://{}/v1/ws", self.address)
    }

    /// The link of the call whose secret is in this fragment.
    pub fn link(&self, fragment: &str) -> Zeroizing<String> {
        Zeroizing::new(format!("http://{}/c#{fragment}", self.host_name))
    }

    fn read(text: &str, flag: &'static str) -> Result<Self, RelayUrlError> {
        let rest = text.trim().strip_prefix("http://");
        let rest = rest.ok_or(match text.trim().starts_with("https://") {
            true => RelayUrlError::Https(flag),
            false => RelayUrlError::Form(flag),
        })?;
        let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let host = host.strip_suffix(":80").unwrap_or(&host);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        let name = host.rsplit_once(':').filter(|_| has_port(host)).map_or(host, |(name, _)| name);
        let port = host.strip_prefix(name).and_then(|port| port.strip_prefix(':'));
        let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        if name.is_empty() || !host.bytes().all(allowed) || !port_is_good {
            return Err(RelayUrlError::Form(flag));
        }
        Ok(Self::of_host(host))
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayUrl(..)")
    }
}

/// Colons inside of brackets belong to an IPv6 address.
fn has_port(host: &str) -> bool {
    host.rsplit(']').next().is_some_and(|end| end.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_signaling_follow_from_the_page() {
        for (text, host, signaling) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws"),
            ("http://Meet.Example/", "meet.example", "ws://meet.example:80/v1/ws"),
            ("http://meet.example:80/c", "meet.example", "ws://meet.example:80/v1/ws"),
            ("http://[::1]:8080/", "[::1]:8080", "ws://[::1]:8080/v1/ws"),
            ("http://[::1]", "[::1]", "ws://[::1]:80/v1/ws"),
        ] {
            let url = RelayUrl::parse(text).expect(text);
            assert_eq!((url.host_name(), url.signaling().as_str()), (host, signaling));
        }
    }

    #[test]
    fn what_is_no_url_is_told_how_to_write_one() {
        for text in ["127.0.0.1:8080", "ws://a", "http://", "http://a:b", "http://a:0", "http://a b", "http://:80"] {
            let said = RelayUrl::parse(text).expect_err(text).to_string();
            assert!(said.contains("http://127.0.0.1:8080"), "{said}");
        }
        let said = RelayUrl::parse("https://meet.example").unwrap_err().to_string();
        assert!(said.contains("--spawn"), "{said}");
    }

    #[test]
    fn joins_are_for_the_host_of_the_link_wherever_the_relay_is_reached() {
        let url = RelayUrl::of_link("https://meet.example/c#abc", Some("http://127.0.0.1:8080")).unwrap();
        assert_eq!((url.host_name(), url.address()), ("meet.example", "127.0.0.1:8080"));
        let url = RelayUrl::of_link("http://127.0.0.1:8080/c#abc", None).unwrap();
        assert_eq!(url.link("abc").as_str(), "http://127.0.0.1:8080/c#abc");
        assert!(RelayUrl::of_link("http://127.0.0.1:8080/c", None).is_err());
        assert!(RelayUrl::of_link("https://meet.example/c#abc", None).is_err());
    }

    #[test]
    fn no_message_quotes_the_address() {
        let url = RelayUrl::parse("http://secret.example:8080").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
        let said = RelayUrl::parse("https://secret.example").unwrap_err().to_string();
        assert!(!said.contains("secret"));
    }
}
