//! Who a participant is and what it does in its call.

use std::fmt;
use std::sync::Arc;

use crate::e2ee::Link;
use crate::fleet::PeerNetwork;
use crate::media::Origin;
use crate::plan;

/// A participant to be played.
#[derive(Clone)]
pub struct Spec {
    /// The call, from 0.
    pub call: usize,
    /// The place in the call, from 0. Someone who comes in another's place takes a new one.
    pub index: usize,
    /// Tells the frames of this run from those of any other.
    pub run: u64,
    /// The call's link.
    pub link: Arc<Link>,
    /// The relay's host as its pages show it, with the port where one is shown; joins are signed for it.
    pub host_name: String,
    /// What is sent as voice.
    pub microphone: Option<plan::Audio>,
    /// What is sent as picture.
    pub camera: Option<plan::Video>,
    /// Whether the microphone comes with speaking hints.
    pub hints: bool,
    /// Pictures that are watched at most; all where absent.
    pub watch: Option<usize>,
    /// Lines at which the one on stage is shown: the height of the largest layer that anyone sends.
    pub stage_height: u32,
    /// Of how many frames one is decrypted and checked.
    pub check_one_in: u32,
    /// The network to the relay; the machine's own where absent.
    pub network: Option<PeerNetwork>,
    /// From which its random choices come.
    pub seed: u64,
}

impl Spec {
    /// By which the others of the tester know whose frames they receive.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}-{}", self.call, self.index)
    }

    /// Where its own frames come from.
    pub fn origin(&self) -> Origin {
        Origin { run: self.run, call: self.call as u32, index: self.index as u32 }
    }

    /// Where the frames of someone of this name come from; `None` for who is not of this tester, such as a browser.
    pub fn origin_of(&self, name: &str) -> Option<Origin> {
        let (call, index) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let (call, index) = (call.parse().ok()?, index.parse().ok()?);
        (call == self.call as u32).then_some(Origin { run: self.run, call, index })
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec").field("call", &self.call).field("index", &self.index).finish_non_exhaustive()
    }
}

/// How the names of synthetic participants begin.
const PREFIX: &str = "peer-";
