//! The door of a room: the host state in force, and the clients that wait outside until it lets them in.

use std::collections::BTreeMap;

use super::{Effect, Room, RoomError};
use crate::base64url::Base64Url;
use crate::host::{HostState, Ruling};
use crate::media::ParticipantKey;
use crate::message::{ErrorCode, ParticipantId, ServerMessage};

/// Who may come in, and who waits. Open while there is no host state.
#[derive(Default)]
pub(super) struct Door {
    ruling: Option<Ruling>,
    outside: BTreeMap<ParticipantKey, Outsider>,
}

struct Outsider {
    id: ParticipantId,
    identity: Base64Url<32>,
    /// The last thing it said, for members who join later.
    knock: Option<String>,
}

impl Door {
    pub(super) fn holder(&self, identity: &Base64Url<32>) -> Option<ParticipantKey> {
        self.outside.iter().find(|(_, outsider)| outsider.identity == *identity).map(|(key, _)| *key)
    }

    pub(super) fn wait(
        &mut self,
        key: ParticipantKey,
        id: ParticipantId,
        identity: Base64Url<32>,
        most: usize,
    ) -> Result<(), RoomError> {
        if self.outside.len() >= most {
            return Err(RoomError::Full);
        }
        self.outside.insert(key, Outsider { id, identity, knock: None });
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.outside.len()
    }

    pub(super) fn knocks(&self) -> impl Iterator<Item = (ParticipantId, &str)> {
        self.outside.values().filter_map(|outsider| Some((outsider.id, outsider.knock.as_deref()?)))
    }
}

impl Room {
    /// Puts a host state into force: lets in who may come in, and ends the connections of those who were removed. Who
    /// is in a room that is now locked to it comes again, and waits: its client and the host's crossed. A state that is
    /// already in force changes nothing.
    pub fn rule(&mut self, ruling: Ruling, effects: &mut Vec<Effect>) -> Result<Ruled, RoomError> {
        match &self.door.ruling {
            Some(current) if ruling == *current => return Ok(Ruled::Known),
            Some(current) if ruling < *current => return Err(RoomError::Host),
            _ => {}
        }
        for key in self.members_where(|identity| !ruling.admits(identity)) {
            let removed = ruling.removes(&self.members[&key].identity);
            self.go(key, effects);
            effects.push(Effect::End(key, if removed { ErrorCode::Removed } else { ErrorCode::Ended }));
        }
        self.door.ruling = Some(ruling.clone());
        let decided = |outsider: &Outsider| ruling.removes(&outsider.identity) || ruling.admits(&outsider.identity);
        let outside = self.door.outside.iter().filter(|(_, outsider)| decided(outsider));
        for key in outside.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.decide(key, &ruling, effects);
        }
        self.close_when_empty(effects);
        Ok(Ruled::Changed)
    }

    /// Someone who waits asks the members to be let in. One who was let in meanwhile asks for nothing.
    pub fn knock(&mut self, key: ParticipantKey, data: String, effects: &mut Vec<Effect>) {
        let Some(outsider) = self.door.outside.get_mut(&key) else { return };
        outsider.knock = Some(data.clone());
        effects.push(Effect::Tell(key, ServerMessage::Knock { id: outsider.id, data }));
    }

    /// Whether somebody waits outside.
    pub fn waits(&self, key: ParticipantKey) -> bool {
        self.door.outside.contains_key(&key)
    }

    /// The state because of which an identity must wait, if it must.
    pub(super) fn closed_to(&self, identity: &Base64Url<32>) -> Result<Option<HostState>, RoomError> {
        match &self.door.ruling {
            Some(ruling) if ruling.removes(identity) => Err(RoomError::Removed),
            Some(ruling) if !ruling.admits(identity) => Ok(Some(ruling.state().clone())),
            _ => Ok(None),
        }
    }

    /// Takes somebody away from outside, where it waits there, and its knock from the members.
    pub(super) fn stop_waiting(
        &mut self,
        key: ParticipantKey,
        effects: &mut Vec<Effect>,
    ) -> Option<(ParticipantId, Base64Url<32>)> {
        let Outsider { id, identity, knock } = self.door.outside.remove(&key)?;
        if knock.is_some() {
            effects.push(Effect::Tell(key, ServerMessage::KnockEnd { id }));
        }
        Some((id, identity))
    }

    /// With the last participant the call is over: for those outside as well, and what the host said goes with it.
    pub(super) fn close_when_empty(&mut self, effects: &mut Vec<Effect>) {
        if self.members.is_empty() {
            let Door { outside, .. } = std::mem::take(&mut self.door);
            effects.extend(outside.into_keys().map(|key| Effect::End(key, ErrorCode::Ended)));
        }
    }

    fn decide(&mut self, key: ParticipantKey, ruling: &Ruling, effects: &mut Vec<Effect>) {
        let Some((id, identity)) = self.stop_waiting(key, effects) else { return };
        if ruling.removes(&identity) {
            effects.push(Effect::End(key, ErrorCode::Removed));
        } else if let Err(error) = self.enter(key, id, identity, effects) {
            effects.push(Effect::End(key, error.code()));
        }
    }

    fn members_where(&self, is: impl Fn(&Base64Url<32>) -> bool) -> Vec<ParticipantKey> {
        self.members.iter().filter(|(_, member)| is(&member.identity)).map(|(key, _)| *key).collect()
    }
}

/// What a host state did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    /// It is in force from now on.
    Changed,
    /// It was already.
    Known,
}
