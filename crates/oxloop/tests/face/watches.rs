use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use oxloop::EventLoop;

use crate::support::{Log, turns};

#[test]
fn readers_and_writers_are_called_until_they_are_removed() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let (one, mut two) = UnixStream::pair().unwrap();
    let one = Rc::new(one);
    let (notes, reader, handle) = (log.clone(), one.clone(), event_loop.handle());
    event_loop
        .add_reader(&*one, move || {
            let mut buffer = [0; 8];
            let count = (&*reader).read(&mut buffer).unwrap();
            notes.say(String::from_utf8_lossy(&buffer[..count]));
            // From within: it is not called again.
            assert!(handle.remove_reader(&*reader));
        })
        .unwrap();
    let (notes, handle, writer) = (log.clone(), event_loop.handle(), one.clone());
    event_loop
        .add_writer(&*one, move || {
            notes.say("writable");
            handle.remove_writer(&*writer);
        })
        .unwrap();
    two.write_all(b"hello").unwrap();
    turns(&event_loop, 2);
    assert_eq!(log.take(), ["hello", "writable"]);
    two.write_all(b"unheard").unwrap();
    turns(&event_loop, 2);
    assert_eq!(log.take(), [""; 0]);
    assert!(!event_loop.remove_reader(&*one));
}

#[test]
fn a_new_reader_takes_the_place_of_the_old() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let (one, mut two) = UnixStream::pair().unwrap();
    let (old, new) = (log.clone(), log.clone());
    event_loop.add_reader(&one, move || old.say("old")).unwrap();
    event_loop.add_reader(&one, move || new.say("new")).unwrap();
    two.write_all(b"x").unwrap();
    turns(&event_loop, 1);
    assert_eq!(log.take(), ["new"]);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let event_loop = EventLoop::new();
    let file = std::fs::File::open("/proc/self/comm").unwrap();
    let regular = std::env::current_exe().and_then(std::fs::File::open).unwrap();
    drop(file);
    assert!(event_loop.add_reader(&regular, || ()).is_err());
    assert!(event_loop.add_reader(&-1, || ()).is_err());
    assert!(!event_loop.remove_reader(&-1));
}

#[test]
fn a_panic_in_a_reader_is_told_and_it_stays() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    log.hear(&event_loop);
    let (one, mut two) = UnixStream::pair().unwrap();
    event_loop.add_reader(&one, || panic!("reader")).unwrap();
    two.write_all(b"x").unwrap();
    turns(&event_loop, 2);
    let said = log.take();
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("reader") && said[0].contains("watches.rs"));
}

#[test]
fn signals_are_callbacks() {
    let event_loop = EventLoop::new();
    let log = Log::default();
    let usr2 = signal_hook::consts::SIGUSR2;
    let (old, new, handle) = (log.clone(), log.clone(), event_loop.handle());
    event_loop.add_signal_handler(usr2, move || old.say("old")).unwrap();
    event_loop
        .add_signal_handler(usr2, move || {
            new.say("new");
            handle.stop();
        })
        .unwrap();
    signal_hook::low_level::raise(usr2).unwrap();
    event_loop.run_forever().unwrap();
    assert_eq!(log.take(), ["new"]);
    assert!(event_loop.remove_signal_handler(usr2));
    assert!(!event_loop.remove_signal_handler(usr2));
    assert!(event_loop.add_signal_handler(signal_hook::consts::SIGKILL, || ()).is_err());
}
