//! A call among [`Encryption`](super::Encryption)s, rule by rule.

mod vectors;
mod world;

use std::time::Duration;

use sotto_signaling::message::Stream;

use self::world::World;

#[test]
fn three_members_see_one_another_agree_on_the_code_and_stay_silent_about_trouble() {
    let mut world = World::of(3);
    let codes: Vec<_> = (0..3).map(|name| world.member(name).encryption.verification_code()).collect();
    assert!(codes[0] == codes[1] && codes[1] == codes[2] && codes[0].len() == 35, "{codes:?}");
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert_eq!(
            world.film(from, to).map(|opened| opened.counter).ok(),
            Some(u64::from(to > from) * 0 + world_counter(from, to))
        );
    }
    world.pass(Duration::from_secs(60));
    for name in 0..3 {
        assert_eq!(world.member(name).trouble(), Vec::<&str>::new());
        assert_eq!(world.member(name).encryption.roster().count(), 2);
    }
    let _ = Stream::Camera;
}

fn world_counter(from: u8, to: u8) -> u64 {
    // each sender films the other two in order
    u64::from([(0, 2), (1, 2), (2, 1)].contains(&(from, to)))
}
