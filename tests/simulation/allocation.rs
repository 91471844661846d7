//! Counts what a thread allocates, so that the packet path can be held to allocate nothing.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::client::Plan;
use crate::world::World;

mod count;

pub use count::count;
use count::note;

/// The system's allocator with a count for each thread.
pub struct Counting;

#[allow(unsafe_code, reason = "the allocator's trait is unsafe; every call goes to the system's own unchanged")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn forwarding_allocates_nothing_once_it_is_warm() {
    let mut world = World::call_of(60, 4, Plan::usual);
    world.run_ms(4_000);
    let (before, packets) = (world.allocated, world.relay.counters().sent[3].packets);
    world.run_ms(3_000);
    let sent = world.relay.counters().sent[3].packets - packets;
    assert!(sent > 3_000, "{sent} packets of video were sent");
    assert_eq!(world.allocated - before, 0, "allocations while handling datagrams");
}

#[test]
fn strangers_make_it_allocate_nothing() {
    let mut world = World::call_of(61, 2, Plan::usual);
    let check = [0u8; 20];
    let media = [0x80u8; 1200];
    let before = world.allocated;
    for port in 0..5_000 {
        world.inject(([203, 0, 113, 9], port).into(), &check);
        world.inject(([203, 0, 113, 9], port).into(), &media);
    }
    assert_eq!(world.allocated, before);
}
