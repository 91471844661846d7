//! Networks by name or by their values: `lte`, or `loss=5%,delay=40ms,down.rate=2m`.

use crate::plan::{Bursts, Impairment, Network};
use crate::quantity::{self, QuantityError};

/// A network that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum NetworkError {
    #[error("`{0}` is neither a network ({names}) nor a setting; a setting is name=value, such as loss=5%", names = names())]
    Unknown(String),
    #[error("`{0}` is no setting of a network; the settings are {SETTINGS}, each also with up. or down. before it")]
    Setting(String),
    #[error("{0}: {1}")]
    Value(String, QuantityError),
    #[error("{0}: write begin/end/loss as percentages, such as bursts=1%/25%/80%")]
    Bursts(String),
}

/// A network that is known by its name.
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it stands for, for people.
    pub about: &'static str,
    /// Its settings, as one could write them.
    pub settings: &'static str,
}

/// The networks that have a name.
pub const PROFILES: [Profile; 3] = [
    Profile {
        name: "wifi",
        about: "a busy wireless network at home",
        settings: "delay=3ms,jitter=4ms,loss=0.1%,bursts=0.2%/40%/60%,reorder=0.1%,rate=40m,queue=150ms",
    },
    Profile {
        name: "lte",
        about: "a phone on the move",
        settings: "delay=25ms,jitter=8ms,bursts=0.1%/20%/50%,up.rate=8m,down.rate=20m,queue=300ms",
    },
    Profile {
        name: "bad",
        about: "a network that people complain about",
        settings: "delay=80ms,jitter=20ms,loss=3%,bursts=0.5%/20%/80%,reorder=0.5%,duplicate=0.1%,up.rate=2m,\
                   down.rate=4m,queue=400ms",
    },
];

impl Network {
    /// Reads names and settings, separated by commas; later ones win over earlier ones.
    pub fn parse(text: &str) -> Result<Network, NetworkError> {
        let mut network = Network::default();
        network.apply(text)?;
        for direction in [&mut network.up, &mut network.down] {
            if direction.rate.is_some() && direction.queue_ms == 0.0 {
                direction.queue_ms = USUAL_QUEUE_MS;
            }
        }
        Ok(network)
    }

    fn apply(&mut self, text: &str) -> Result<(), NetworkError> {
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((name, value)) => self.set(name.trim(), value.trim())?,
                None => {
                    let known = PROFILES.iter().find(|profile| profile.name == part);
                    self.apply(known.ok_or_else(|| NetworkError::Unknown(part.to_owned()))?.settings)?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), NetworkError> {
        let (up, down, setting) = match name.split_once('.') {
            Some(("up", setting)) => (true, false, setting),
            Some(("down", setting)) => (false, true, setting),
            Some(_) => return Err(NetworkError::Setting(name.to_owned())),
            None => (true, true, name),
        };
        for direction in up.then_some(&mut self.up).into_iter().chain(down.then_some(&mut self.down)) {
            direction.set(setting, value)?;
        }
        Ok(())
    }
}

impl Impairment {
    fn set(&mut self, setting: &str, value: &str) -> Result<(), NetworkError> {
        let wrong = |error| NetworkError::Value(setting.to_owned(), error);
        let share = || quantity::share(value).map_err(wrong);
        let milliseconds = || quantity::duration(value).map(|time| time.as_secs_f64() * 1e3).map_err(wrong);
        match setting {
            "loss" => self.loss = share()?,
            "bursts" => self.bursts = Some(bursts(value)?),
            "delay" => self.delay_ms = milliseconds()?,
            "jitter" => self.jitter_ms = milliseconds()?,
            "reorder" => self.reorder = share()?,
            "duplicate" => self.duplicate = share()?,
            "rate" => self.rate = Some(u64::from(quantity::bitrate(value).map_err(wrong)?)),
            "queue" => self.queue_ms = milliseconds()?,
            _ => return Err(NetworkError::Setting(setting.to_owned())),
        }
        Ok(())
    }
}

fn bursts(text: &str) -> Result<Bursts, NetworkError> {
    let shares: Result<Vec<f64>, _> = text.split('/').map(quantity::share).collect();
    match shares.as_deref() {
        Ok(&[begin, end, loss]) => Ok(Bursts { begin, end, loss }),
        _ => Err(NetworkError::Bursts(text.to_owned())),
    }
}

fn names() -> String {
    PROFILES.map(|profile| profile.name).join(", ")
}

/// What routers at home hold back before they drop: a rate without any queue would lose every burst.
const USUAL_QUEUE_MS: f64 = 200.0;
/// What can be set, for messages and help.
pub const SETTINGS: &str = "loss, bursts, delay, jitter, reorder, duplicate, rate, queue";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_hold_in_both_directions_unless_one_is_named() {
        let network = Network::parse("loss=5%,delay=40ms,down.rate=2m").unwrap();
        assert_eq!((network.up.loss, network.down.loss), (0.05, 0.05));
        assert_eq!((network.up.delay_ms, network.down.delay_ms), (40.0, 40.0));
        assert_eq!((network.up.rate, network.down.rate), (None, Some(2_000_000)));
        assert_eq!((network.up.queue_ms, network.down.queue_ms), (0.0, USUAL_QUEUE_MS));
    }

    #[test]
    fn every_profile_is_what_its_settings_say_and_can_be_altered() {
        for profile in PROFILES {
            let network = Network::parse(profile.name).unwrap();
            assert_eq!(network, Network::parse(profile.settings).unwrap(), "{}", profile.name);
            assert_ne!(network, Network::default(), "{}", profile.name);
        }
        assert_eq!(Network::parse("bad,loss=0%").unwrap().up.loss, 0.0);
    }

    #[test]
    fn bursts_are_three_shares() {
        let bursts = Network::parse("bursts=1%/25%/80%").unwrap().up.bursts;
        assert_eq!(bursts, Some(Bursts { begin: 0.01, end: 0.25, loss: 0.8 }));
        assert!(Network::parse("bursts=1%/25%").is_err());
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is() {
        let said = Network::parse("dsl").unwrap_err().to_string();
        assert!(said.contains("wifi, lte, bad"), "{said}");
        let said = Network::parse("latency=5ms").unwrap_err().to_string();
        assert!(said.contains("delay"), "{said}");
        let said = Network::parse("delay=40").unwrap_err().to_string();
        assert!(said.contains("delay: `40` has no unit"), "{said}");
        assert!(Network::parse("left.loss=1%").is_err() && Network::parse("").is_err());
    }
}
