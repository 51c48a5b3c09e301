//! The host of tests: jobs and connections are names, steps are written down.

use oxloop_os::resolve::Answer;

use crate::engine::Engine;
use crate::host::Host;
use crate::moment::Moment;
use crate::step::Step;
use crate::stream::FileSent;
use crate::testing::{Script, ToyTls};

/// Payloads that are easy to compare.
#[derive(Debug)]
pub struct TestHost;

impl Host for TestHost {
    type Job = &'static str;
    type Conn = &'static str;
    type Bytes = Vec<u8>;
    type Tls = ToyTls;
    type Kernel = Script;
}

/// An engine, its scripted kernel and a clock.
#[derive(Debug)]
pub struct Bench {
    pub engine: Engine<TestHost>,
    pub kernel: Script,
    /// What `Step::Clock` is answered with, in seconds.
    pub now: f64,
    /// What every other step takes, in seconds on that clock.
    pub tick: f64,
    /// Jobs are taken by [`Engine::next_job`] where that is possible.
    pub direct: bool,
    /// How many times the clock was asked for.
    pub looks: usize,
}

impl Default for Bench {
    fn default() -> Self {
        let kernel = Script::default();
        Bench {
            engine: Engine::new(kernel.clone()),
            kernel,
            now: 0.0,
            tick: 0.0,
            direct: false,
            looks: 0,
        }
    }
}

impl Bench {
    /// Runs one turn; the clock and the wait are answered, every other step is written down and
    /// given to `act`, as it is written.
    pub fn turn(&mut self, mut act: impl FnMut(&mut Engine<TestHost>, &str)) -> Vec<String> {
        self.engine.begin_run(true);
        self.run(|engine, step| {
            act(engine, step);
            true
        })
    }

    /// Runs one turn in which every step is only written down.
    pub fn just_turn(&mut self) -> Vec<String> {
        self.turn(|_, _| ())
    }

    /// Runs until `Done`, or until `act` says no; the run has been begun. A run that nobody would
    /// end is given up.
    pub fn run(&mut self, mut act: impl FnMut(&mut Engine<TestHost>, &str) -> bool) -> Vec<String> {
        let mut log = Vec::new();
        let mut patience = 100_000;
        loop {
            patience -= 1;
            match self.next() {
                _ if patience == 0 => {
                    log.push("runs for ever".to_owned());
                    return log;
                }
                Step::Clock => {
                    self.looks += 1;
                    self.engine.tell(Moment::from_seconds(self.now).unwrap_or_default());
                }
                Step::Wait(mut wait) => {
                    wait.block();
                    if let Err(error) = self.engine.waited(wait) {
                        log.push(format!("wait failed: {}", error.kind()));
                    }
                }
                Step::Done => return log,
                step => {
                    let step = self.name(&step);
                    log.push(step.clone());
                    let more = act(&mut self.engine, &step);
                    self.now += self.tick;
                    if !more {
                        return log;
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Step<TestHost> {
        let job = if self.direct { self.engine.next_job() } else { None };
        job.map_or_else(|| self.engine.step(), Step::Job)
    }

    fn name(&self, step: &Step<TestHost>) -> String {
        let engine = &self.engine;
        let conn = |key| engine.conn(key).or(engine.listener(key)).copied().unwrap_or("?");
        match step {
            Step::Job(job) => (*job).to_owned(),
            Step::Watch(key, direction) => {
                engine.watch_job(*key, *direction).copied().unwrap_or("?").to_owned()
            }
            Step::Received(key, count) => {
                let data = String::from_utf8_lossy(engine.received(*count));
                format!("{} received {data}", conn(*key))
            }
            Step::Offer(key) => format!("{} offer", conn(*key)),
            Step::Plenty(key, size) => format!("{} plenty {size}", conn(*key)),
            Step::Ended(key) => format!("{} ended", conn(*key)),
            Step::ReadFailed(key, error) => format!("{} read failed: {}", conn(*key), error.kind()),
            Step::Datagram(key) => {
                let data = String::from_utf8_lossy(engine.datagram().0);
                format!("{} datagram {data}", conn(*key))
            }
            Step::DatagramFailed(key, error) => {
                format!("{} datagram failed: {}", conn(*key), error.kind())
            }
            Step::Fill(key) => format!("{} fill", conn(*key)),
            Step::Full(key) => format!("{} full", conn(*key)),
            Step::Flushed(key, flushed) => {
                format!("{} flushed, resume {}", conn(*key), flushed.resume)
            }
            Step::FileSent(key, FileSent { sent, error }) => {
                let error = error.as_ref().map(|error| format!(", {}", error.kind()));
                format!("{} file sent {sent}{}", conn(*key), error.unwrap_or_default())
            }
            Step::WriteFailed(key, error) => {
                format!("{} write failed: {}", conn(*key), error.kind())
            }
            Step::Accepted(key, fd, _) => format!("{} accepted {}", conn(*key), fd.raw()),
            Step::AcceptFailed(key, failure) => {
                format!("{} accept failed, first {}", conn(*key), failure.first)
            }
            Step::Exited(ended) => format!("{} exited {:?}", ended.conn, ended.exit),
            Step::Resolved(conn, Answer::Names(host, _)) => {
                format!("{conn} resolved {}", String::from_utf8_lossy(host))
            }
            Step::Resolved(conn, answer) => format!("{conn} resolved {answer:?}"),
            Step::PollFailed(error) => format!("poll failed: {}", error.kind()),
            Step::Clock | Step::Wait(_) | Step::Done => String::new(),
        }
    }
}
