//! The legs of a room's tunnel: who was given one, and to whom.

use std::collections::BTreeMap;

use super::{Effect, Room, RoomError};
use crate::media::ParticipantKey;
use crate::message::ParticipantId;

/// Whose leg goes to whom.
pub(super) type Legs = BTreeMap<ParticipantKey, ParticipantKey>;

impl Room {
    /// The participant wants its leg of the tunnel to another, or new credentials for it. There is a tunnel only where
    /// exactly the two are in the room: who else is there could be given no part in it.
    pub fn tunnel(
        &mut self,
        key: ParticipantKey,
        peer: ParticipantId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RoomError> {
        if !self.members.contains_key(&key) {
            return Ok(());
        }
        let other = self.keys.get(&peer).copied().filter(|other| *other != key).ok_or(RoomError::Tunnel)?;
        if !self.caps.tunnel || self.members.len() != 2 {
            return Err(RoomError::Tunnel);
        }
        self.legs.insert(key, other);
        effects.push(Effect::Tunnel { participant: key, other, peer });
        Ok(())
    }

    /// The participant's leg is over. Nothing happens where it has none: a leave may have ended it.
    pub fn end_tunnel(&mut self, key: ParticipantKey, effects: &mut Vec<Effect>) {
        if self.legs.remove(&key).is_some() {
            effects.push(Effect::EndTunnel(key));
        }
    }

    /// Ends every leg.
    pub fn end_tunnels(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(std::mem::take(&mut self.legs).into_keys().map(Effect::EndTunnel));
    }

    /// Whether there are legs though more than two are in the room.
    pub fn is_mixed(&self) -> bool {
        !self.legs.is_empty() && self.members.len() > 2
    }

    /// Ends the participant's leg and the one to it: behind either there is nobody.
    pub(super) fn end_legs_with(&mut self, key: ParticipantKey, effects: &mut Vec<Effect>) {
        let ended = self.legs.extract_if(.., |from, to| *from == key || *to == key);
        effects.extend(ended.map(|(from, _)| Effect::EndTunnel(from)));
    }
}
