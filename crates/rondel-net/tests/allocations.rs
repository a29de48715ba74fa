//! What a round trip allocates, once everything is warm: nothing.

#![allow(unsafe_code, reason = "an allocator that counts")]

mod pair;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};

use pair::*;
use rondel_loop::run;
use rondel_net::{Protocol, Transport};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn allocations() -> usize {
    COUNT.get()
}

// SAFETY: everything is the system allocator's doing; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations(), before + 1);
}

#[test]
fn an_echo_round_trip_allocates_nothing() {
    run(async {
        for size in [1, 16, 1024, 20_000] {
            let (mut reader, writer, mut peer) = split_pair();
            let message = pattern(0, size);
            let mut echoed = vec![0; size];
            let mut buffer = vec![0; size];
            let mut before = 0;
            for round in 0..60 {
                if round == 10 {
                    before = allocations();
                }
                peer.write_all(&message).unwrap();
                let mut received = 0;
                while received < size {
                    let count = reader.read(&mut buffer).await.unwrap();
                    received += count;
                    writer.write_all(&buffer[..count]).await.unwrap();
                }
                peer.read_exact(&mut echoed).unwrap();
            }
            assert_eq!(allocations(), before, "{size} bytes");
        }
    })
    .unwrap();
}

#[test]
fn neither_do_joined_writes_and_exact_reads() {
    run(async {
        let (mut reader, writer, mut peer) = split_pair();
        let mut echoed = vec![0; 1024];
        let mut buffer = vec![0; 1024];
        let mut before = 0;
        for round in 0..200 {
            if round == 100 {
                before = allocations();
            }
            peer.write_all(&[7; 1024]).unwrap();
            reader.read_exact(&mut buffer).await.unwrap();
            writer.write(&buffer[..100]).unwrap();
            writer.write(&buffer[100..]).unwrap();
            if round % 2 == 0 {
                writer.drain().await.unwrap();
            } else {
                rondel_loop::yield_now().await;
            }
            peer.read_exact(&mut echoed).unwrap();
        }
        assert_eq!(allocations(), before);
    })
    .unwrap();
}

#[test]
fn neither_do_a_protocols_round_trips() {
    struct Echo;
    impl Protocol for Echo {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            transport.write(data).unwrap();
        }
    }

    run(async {
        for size in [1, 16, 1024, 20_000] {
            let (ours, mut peer) = pair();
            let (transport, _) = ours.into_transport(Echo);
            let message = pattern(0, size);
            let mut echoed = vec![0; size];
            let mut before = 0;
            for round in 0..60 {
                if round == 10 {
                    before = allocations();
                }
                peer.write_all(&message).unwrap();
                peer.set_nonblocking(true).unwrap();
                while peer.peek(&mut echoed).unwrap_or(0) < size {
                    rondel_loop::yield_now().await;
                }
                peer.set_nonblocking(false).unwrap();
                peer.read_exact(&mut echoed).unwrap();
            }
            assert_eq!(allocations(), before, "{size} bytes");
            transport.abort();
        }
    })
    .unwrap();
}
