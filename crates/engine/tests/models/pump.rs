//! The TLS pump, whatever its owner, its peer and what runs inside of its session do: plaintext goes
//! both ways in order, none of it before the handshake, and the end is told once.

use std::cell::RefCell;
use std::rc::Rc;

use arbitrary::{Result, Unstructured};
use oxloop_engine::testing::{TestHost, ToyTls};
use oxloop_engine::{Farewell, FlowChange, Limits, Pump, TlsStep};

/// What an owner does; also from within the session.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    Read(bool),
    Blocked(bool),
    SetLimits(usize, usize),
    Close,
    Abort,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Act(Act),
    /// The next call of the session's does this.
    Inside(Act),
    /// The peer says something, so many bytes of which come now.
    Data(u8),
    Said(u8),
    Feed(usize),
    Cut(bool),
    /// Everything that is to be done now, with a buffer of this size, which may be the reader's.
    Drive(usize, bool),
    DriveWrites,
    FlowChange(usize),
}

/// Says what is played; for who looks at a failure.
const SHOW: bool = false;

/// Plays operations out of a fuzzer's bytes.
pub(crate) fn play(data: &[u8]) {
    let (mut u, mut life) = (Unstructured::new(data), Life::new());
    while let (false, Ok(op)) = (u.is_empty(), op(&mut u)) {
        if SHOW {
            println!("{op:?}");
        }
        life.apply(op);
    }
    life.end();
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=31)? {
        0..=6 => Op::Act(act(u)?),
        7..=9 => Op::Inside(act(u)?),
        10..=14 => Op::Data(u.arbitrary()?),
        15..=17 => Op::Said(*u.choose(b"HHKKWwwwG?")?),
        18..=23 => Op::Feed(u.arbitrary::<u8>()?.into()),
        24 => Op::Cut(u.arbitrary()?),
        25 => Op::DriveWrites,
        26 | 27 => Op::FlowChange(u.arbitrary::<u8>()?.into()),
        _ => Op::Drive(u.int_in_range(1..=600)?, u.arbitrary()?),
    })
}

fn act(u: &mut Unstructured<'_>) -> Result<Act> {
    Ok(match u.int_in_range(0..=15)? {
        0..=6 => Act::Write(size(u)?),
        7..=9 => Act::Read(u.arbitrary()?),
        10..=12 => Act::Blocked(u.arbitrary()?),
        13 => {
            let (a, b) = (size(u)?, size(u)?);
            Act::SetLimits(a.min(b), a.max(b))
        }
        14 => Act::Close,
        _ => Act::Abort,
    })
}

fn size(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u.arbitrary::<u8>()? {
        255 => u.int_in_range(60_000..=140_000)?,
        220..=254 => u.int_in_range(1000..=5000)?,
        small => small.into(),
    })
}

/// Appends to a text that does not repeat itself at any power of two.
fn extend(text: &mut Vec<u8>, count: usize) {
    let end = text.len() + count;
    text.extend((text.len()..end).map(|at| b'0' + (at % 61) as u8));
}

/// What the owner knows of its pump.
#[derive(Default)]
struct Owner {
    written: Vec<u8>,
    /// What the peer has said as data.
    said: Vec<u8>,
    received: usize,
    /// What was sent, not yet understood.
    output: Vec<u8>,
    sent: usize,
    hello: bool,
    goodbye: bool,
    shaken: bool,
    closed: bool,
    paused: bool,
    /// Goodbye came, or the stream's end, or a failure; nothing is received after it.
    ended: bool,
    cut: bool,
    /// The last step was told.
    over: bool,
    aborted: bool,
    inside: Option<Act>,
}

struct Life {
    pump: Rc<Pump<TestHost>>,
    owner: Rc<RefCell<Owner>>,
    /// What the peer says, of which so much was fed.
    wire: Vec<u8>,
    fed: usize,
    /// The peer says nothing sensible any more.
    silent: bool,
}

impl Owner {
    fn act(&mut self, pump: &Pump<TestHost>, act: Act) {
        match act {
            Act::Write(len) if pump.is_open() => {
                let first = self.written.len();
                extend(&mut self.written, len);
                let data = &self.written[first..];
                pump.write(data, || Some(data.to_vec())).unwrap();
            }
            Act::Write(_) => {}
            Act::Read(reading) => pump.set_reading(reading),
            Act::Blocked(blocked) => pump.set_blocked(blocked),
            Act::SetLimits(low, high) => pump.set_limits(Limits { low, high }),
            Act::Close => match pump.close() {
                Farewell::Abort => {
                    assert!(!self.shaken, "no goodbye to who is there");
                    self.abort(pump);
                }
                Farewell::Begun => {
                    assert!(!std::mem::replace(&mut self.closed, true));
                }
                Farewell::Already => assert!(self.closed || self.ended || self.over),
            },
            Act::Abort => self.abort(pump),
        }
    }

    fn abort(&mut self, pump: &Pump<TestHost>) {
        pump.abort();
        self.aborted = true;
        (self.over, self.ended, self.cut) = (true, true, true);
    }

    /// Output goes out in records that the peer understands.
    fn understand(&mut self, output: &[u8]) {
        self.output.extend_from_slice(output);
        loop {
            let taken = match *self.output.as_slice() {
                [] | [b'D'] => return,
                [b'D', length, ref rest @ ..] => {
                    let Some(data) = rest.get(..length.into()) else { return };
                    assert!(self.hello && self.shaken, "plaintext before the handshake");
                    assert!(!self.goodbye, "data after the goodbye");
                    assert!(self.written[self.sent..].starts_with(data), "not what was written");
                    self.sent += data.len();
                    2 + data.len()
                }
                [b'H', ..] => {
                    assert!(!std::mem::replace(&mut self.hello, true));
                    1
                }
                [b'G', ..] => {
                    assert!(!std::mem::replace(&mut self.goodbye, true));
                    assert_eq!(self.sent, self.written.len(), "goodbye before the last bytes");
                    1
                }
                [b'k' | b'!', ..] => 1,
                [other, ..] => panic!("{other} was never said"),
            };
            self.output.drain(..taken);
        }
    }

    fn receive(&mut self, data: &[u8]) {
        assert!(self.shaken && !self.closed && !self.ended, "nobody reads");
        assert!(self.said[self.received..].starts_with(data), "not what was said");
        self.received += data.len();
    }

    fn finish(&mut self) {
        assert!(!std::mem::replace(&mut self.over, true), "the end was told twice");
        self.ended = true;
    }
}

impl Life {
    fn new() -> Life {
        let pump: Rc<Pump<TestHost>> =
            Rc::new(Pump::new(ToyTls::default(), Limits { low: 1000, high: 4000 }));
        let owner = Rc::new(RefCell::new(Owner::default()));
        let (inner, of_inner) = (Rc::downgrade(&pump), owner.clone());
        pump.session().inside(move |_| {
            let act = of_inner.borrow_mut().inside.take();
            if let (Some(act), Some(pump)) = (act, inner.upgrade()) {
                assert!(pump.is_busy());
                assert!(matches!(pump.next(&mut [0; 8], false), TlsStep::Idle));
                of_inner.borrow_mut().act(&pump, act);
            }
        });
        Life { pump, owner, wire: b"H".to_vec(), fed: 0, silent: false }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Act(act) => self.owner.borrow_mut().act(&self.pump, act),
            Op::Inside(act) => self.owner.borrow_mut().inside = Some(act),
            Op::Data(length) if !self.silent => {
                let mut owner = self.owner.borrow_mut();
                let first = owner.said.len();
                extend(&mut owner.said, length.into());
                self.wire.extend_from_slice(&[b'D', length]);
                self.wire.extend_from_slice(&owner.said[first..]);
            }
            Op::Said(record) if !self.silent => {
                self.wire.push(record);
                self.silent = matches!(record, b'H' | b'G' | b'?');
            }
            Op::Data(_) | Op::Said(_) => {}
            Op::Feed(count) => self.feed(count),
            Op::Cut(forgiving) => {
                self.owner.borrow_mut().cut = true;
                self.pump.cut(forgiving);
            }
            Op::Drive(size, offered) => self.drive(size, offered),
            Op::DriveWrites => {
                while let TlsStep::Output = self.pump.next_write() {
                    self.output();
                }
            }
            Op::FlowChange(below) => {
                let Owner { paused, aborted, .. } = &mut *self.owner.borrow_mut();
                let told = match self.pump.flow_change(below) {
                    Some(_) if *aborted => false,
                    Some(FlowChange::Pause) => !std::mem::replace(paused, true),
                    Some(FlowChange::Resume) => std::mem::replace(paused, false),
                    None => true,
                };
                assert!(told, "told twice, or nobody");
                assert_eq!(self.pump.is_write_paused(), *paused);
            }
        }
    }

    fn feed(&mut self, count: usize) {
        let end = self.wire.len().min(self.fed + count);
        if end > self.fed && !self.owner.borrow().cut {
            self.pump.feed(&self.wire[self.fed..end]).unwrap();
            self.fed = end;
        }
    }

    fn output(&self) {
        let mut output = Vec::new();
        self.pump.take_output(|bytes| output.extend_from_slice(bytes)).unwrap();
        assert!(!output.is_empty(), "there was something to send");
        self.owner.borrow_mut().understand(&output);
    }

    /// Does all that the pump asks for.
    fn drive(&self, size: usize, offered: bool) {
        let (mut buffer, mut patience) = (vec![0; size], 20_000);
        loop {
            patience -= 1;
            assert!(patience > 0, "busy for ever");
            let mut step = self.pump.next(&mut buffer, offered);
            if let TlsStep::Offer = step {
                assert!(offered && !self.pump.is_reading_paused());
                step = self.pump.read(&mut buffer);
                if let TlsStep::Idle = step {
                    continue;
                }
            }
            if self.told(step, &buffer) {
                return;
            }
        }
    }

    /// True if there is nothing more to do.
    fn told(&self, step: TlsStep<oxloop_engine::testing::ToyError>, buffer: &[u8]) -> bool {
        if let TlsStep::Output = step {
            self.output();
            return false;
        }
        let mut owner = self.owner.borrow_mut();
        assert!(matches!(step, TlsStep::Idle) || !owner.over, "{step:?} after the end");
        match step {
            TlsStep::Idle => return true,
            TlsStep::Handshaken => assert!(!std::mem::replace(&mut owner.shaken, true)),
            TlsStep::Received(count) => owner.receive(&buffer[..count]),
            TlsStep::Ended => {
                assert!(!std::mem::replace(&mut owner.ended, true), "told twice");
                // As its owner has to.
                owner.act(&self.pump, Act::Close);
            }
            TlsStep::Truncated => {
                assert!(owner.cut && !std::mem::replace(&mut owner.ended, true), "told twice");
                owner.closed = true;
            }
            TlsStep::HandshakeFailed(_) | TlsStep::Reset => {
                assert!(!owner.shaken);
                owner.finish();
            }
            TlsStep::Failed(_) => owner.finish(),
            TlsStep::Closed => {
                assert!(owner.closed);
                owner.finish();
            }
            TlsStep::Output | TlsStep::Offer => panic!("{step:?}"),
        }
        false
    }

    /// The peer says all it had to say, the stream takes everything, and the owner says goodbye.
    fn end(&mut self) {
        self.owner.borrow_mut().inside = None;
        self.apply(Op::Act(Act::Blocked(false)));
        self.apply(Op::Act(Act::Read(true)));
        self.apply(Op::Said(b'w'));
        self.feed(usize::MAX - self.fed);
        self.drive(500, false);
        let owner = self.owner.borrow();
        if !owner.ended && !owner.closed && owner.shaken {
            assert_eq!(owner.received, owner.said.len(), "never received");
            assert_eq!(owner.sent, owner.written.len(), "never sent");
            assert_eq!(self.pump.queued(), 0);
        }
        drop(owner);
        self.apply(Op::Act(Act::Close));
        self.apply(Op::Cut(false));
        self.drive(500, false);
        assert!(self.owner.borrow().over, "it never ends");
    }
}
