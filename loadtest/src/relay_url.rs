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
    /// By TLS.
    secure: bool,
}

/// A text that is no such URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum RelayUrlError {
    #[error("{0} is no address of a relay; write it as http://127.0.0.1:8080 or https://meet.example.org")]
    Form(&'static str),
}

impl RelayUrl {
    /// Reads `http://host:port` or `https://host:port`, as --relay has it.
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
        let relay = relay.map(Self::parse).transpose()?;
        let (page, _) = link.split_once('#').ok_or(RelayUrlError::Form("--link"))?;
        let of_link = Self::read(page, "--link")?;
        Ok(match relay {
            Some(Self { address, secure, .. }) => Self { address, secure, ..of_link },
            None => of_link,
        })
    }

    /// Of a relay that serves its page here, by plain http.
    pub fn of_host(host_name: &str) -> Self {
        Self::of(host_name, false)
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
        format!("{}://{}/v1/ws", if self.secure { "wss" } else { "ws" }, self.address)
    }

    /// The link of the call whose secret is in this fragment.
    pub fn link(&self, fragment: &str) -> Zeroizing<String> {
        let scheme = if self.secure { "https" } else { "http" };
        Zeroizing::new(format!("{scheme}://{}/c#{fragment}", self.host_name))
    }

    fn read(text: &str, flag: &'static str) -> Result<Self, RelayUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(RelayUrlError::Form(flag))?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(RelayUrlError::Form(flag)),
        };
        let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let host = host.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(&host);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        let name = host.rsplit_once(':').filter(|_| has_port(host)).map_or(host, |(name, _)| name);
        let port = host.strip_prefix(name).and_then(|port| port.strip_prefix(':'));
        let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        if name.is_empty() || !host.bytes().all(allowed) || !port_is_good {
            return Err(RelayUrlError::Form(flag));
        }
        Ok(Self::of(host, secure))
    }

    fn of(host_name: &str, secure: bool) -> Self {
        let port = if secure { 443 } else { 80 };
        let address = if has_port(host_name) { host_name.to_owned() } else { format!("{host_name}:{port}") };
        Self { host_name: host_name.to_owned(), address, secure }
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
            ("https://meet.example", "meet.example", "wss://meet.example:443/v1/ws"),
            ("https://meet.example:8443", "meet.example:8443", "wss://meet.example:8443/v1/ws"),
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
    }

    #[test]
    fn joins_are_for_the_host_of_the_link_wherever_the_relay_is_reached() {
        let url = RelayUrl::of_link("https://meet.example/c#abc", Some("http://127.0.0.1:8080")).unwrap();
        assert_eq!((url.host_name(), url.address()), ("meet.example", "127.0.0.1:8080"));
        assert_eq!(url.signaling(), "ws://127.0.0.1:8080/v1/ws");
        let url = RelayUrl::of_link("http://127.0.0.1:8080/c#abc", None).unwrap();
        assert_eq!(url.link("abc").as_str(), "http://127.0.0.1:8080/c#abc");
        assert!(RelayUrl::of_link("http://127.0.0.1:8080/c", None).is_err());
        let url = RelayUrl::of_link("https://meet.example/c#abc", None).unwrap();
        assert_eq!(url.link("abc").as_str(), "https://meet.example/c#abc");
    }

    #[test]
    fn no_message_quotes_the_address() {
        let url = RelayUrl::parse("http://secret.example:8080").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
        let said = RelayUrl::parse("wss://secret.example").unwrap_err().to_string();
        assert!(!said.contains("secret"));
    }
}
