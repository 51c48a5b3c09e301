//! The scripted kernel.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxloop_os::Name;
use oxloop_os::datagram::{Inbound, Outbound};
use oxloop_os::process::Exit;
use oxloop_os::resolve::{Answer, Query};
use oxloop_os::socket::Address;
use oxloop_os::{Batch, Event, Fd, Interest};

use crate::kernel::Kernel;
use crate::resolver::LookUp;

/// A kernel that does what a test has written down. Clones share one script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    registered: HashMap<i32, (u64, Interest)>,
    /// What `registered` was asked, in order, e.g. `add 3 r`.
    calls: Vec<String>,
    waits: VecDeque<Vec<Event>>,
    /// Events of files that outlive their numbers: every wait reports them.
    ghosts: Vec<Event>,
    timeouts: Vec<Option<Duration>>,
    wakes: usize,
    /// The wake-ups that a wait has taken note of.
    heard: usize,
    blocks: bool,
    failures: HashMap<&'static str, ErrorKind>,
    /// The sizes of the buffers that reads brought along.
    asked: Vec<usize>,
    incoming: HashMap<i32, VecDeque<io::Result<Vec<u8>>>>,
    room: HashMap<i32, VecDeque<io::Result<usize>>>,
    sent: HashMap<i32, Vec<u8>>,
    sends: usize,
    /// What `send_datagram` and `send_datagrams` were given and took, call by call.
    posted: HashMap<i32, Vec<Vec<Vec<u8>>>>,
    shut: Vec<i32>,
    /// What is in the files that are sent.
    contents: HashMap<i32, Vec<u8>>,
    holds: bool,
    allowed: usize,
    lookups: usize,
    /// Who was read or written as a file, not as a socket.
    files: HashSet<i32>,
    exits: HashMap<i32, io::Result<Exit>>,
    arrivals: VecDeque<io::Result<i32>>,
    refuse: Option<ErrorKind>,
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until_woken<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> io::Result<MutexGuard<'a, State>> {
        const PATIENCE: Duration = Duration::from_secs(10);
        while state.wakes == state.heard {
            let woken = self.shared.woken.wait_timeout(state, PATIENCE);
            let (guard, patience) = woken.unwrap_or_else(PoisonError::into_inner);
            if patience.timed_out() && guard.wakes == guard.heard {
                return Err(ErrorKind::TimedOut.into());
            }
            state = guard;
        }
        Ok(state)
    }

    /// The next wait reports these numbers, as `(fd, readable, writable)`, with the tokens under
    /// which they are registered at this moment.
    pub fn ready(&self, fds: &[(i32, bool, bool)]) {
        let mut state = self.state();
        let events = fds
            .iter()
            .filter_map(|&(fd, readable, writable)| {
                let (token, _) = *state.registered.get(&fd)?;
                Some(Event { token, readable, writable })
            })
            .collect();
        state.waits.push_back(events);
    }

    /// The next wait reports this token, whoever owns it.
    pub fn ready_token(&self, token: u64) {
        self.state().waits.push_back(vec![Event { token, readable: true, writable: true }]);
    }

    /// What the next read of `fd` brings; without an entry it would block.
    pub fn incoming(&self, fd: i32, data: io::Result<&[u8]>) {
        let data = data.map(<[u8]>::to_vec);
        self.state().incoming.entry(fd).or_default().push_back(data);
    }

    /// How many bytes the next send of `fd` takes; without an entry it takes all.
    pub fn room(&self, fd: i32, room: io::Result<usize>) {
        self.state().room.entry(fd).or_default().push_back(room);
    }

    /// The next receiving of `fd` brings these datagrams at once.
    pub fn mail(&self, fd: i32, batch: &[&[u8]]) {
        for data in batch {
            self.incoming(fd, Ok(data));
        }
    }

    /// The datagrams sent on `fd` so far, those of one call together. Its [`room`](Self::room) is
    /// counted in calls: an error is that of the datagram whose turn it is, a number cuts a batch.
    pub fn posted(&self, fd: i32) -> Vec<Vec<Vec<u8>>> {
        self.state().posted.get(&fd).cloned().unwrap_or_default()
    }

    /// What the next accept brings; without an entry it would block.
    pub fn arrival(&self, connection: io::Result<i32>) {
        self.state().arrivals.push_back(connection);
    }

    /// The child behind the number has ended; asked for once.
    pub fn exit(&self, pidfd: i32, exit: io::Result<Exit>) {
        self.state().exits.insert(pidfd, exit);
    }

    /// Every registration fails from now on, until told otherwise.
    pub fn refuse(&self, kind: Option<ErrorKind>) {
        self.state().refuse = kind;
    }

    /// The number's file is closed: its registration is gone, the engine not told.
    pub fn close(&self, fd: i32) {
        self.state().registered.remove(&fd);
    }

    /// The number's file is closed, but a duplicate keeps it alive, and readable: every wait
    /// reports it under its token, and no `remove` can reach it.
    pub fn orphan(&self, fd: i32) {
        let mut state = self.state();
        if let Some((token, _)) = state.registered.remove(&fd) {
            state.ghosts.push(Event { token, readable: true, writable: false });
        }
    }

    /// The next call of that name (`add`, `wait`, `prepare`, `renew`, `send_file`) fails.
    pub fn fail(&self, call: &'static str, kind: ErrorKind) {
        self.state().failures.insert(call, kind);
    }

    /// Waits without a timeout last until a wake-up from now on. One that is not woken for ten
    /// seconds fails.
    pub fn block_waits(&self) {
        self.state().blocks = true;
    }

    /// Everything sent on `fd` so far.
    pub fn sent(&self, fd: i32) -> Vec<u8> {
        self.state().sent.get(&fd).cloned().unwrap_or_default()
    }

    /// How many send calls there were.
    pub fn sends(&self) -> usize {
        self.state().sends
    }

    /// How many bytes each read asked for.
    pub fn asked(&self) -> Vec<usize> {
        self.state().asked.clone()
    }

    /// The timeouts of all waits so far.
    pub fn timeouts(&self) -> Vec<Option<Duration>> {
        self.state().timeouts.clone()
    }

    /// How many times the kernel was told to end a wait.
    pub fn wakes(&self) -> usize {
        self.state().wakes
    }

    /// The token under which the number is registered.
    pub fn token(&self, fd: i32) -> Option<u64> {
        self.state().registered.get(&fd).map(|&(token, _)| token)
    }

    /// What the number is registered for.
    pub fn interest(&self, fd: i32) -> Interest {
        self.state().registered.get(&fd).map_or(Interest::NONE, |&(_, interest)| interest)
    }

    /// The registration calls since the last time this was asked.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// Whether the end of writing was said.
    pub fn was_shut(&self, fd: i32) -> bool {
        self.shuts(fd) > 0
    }

    /// Whether the number was read or written as a file, not as a socket.
    pub fn is_file(&self, fd: i32) -> bool {
        self.state().files.contains(&fd)
    }

    /// The number is a file with these bytes.
    pub fn file(&self, fd: i32, contents: &[u8]) {
        self.state().contents.insert(fd, contents.to_vec());
    }

    /// Names that are looked up from now on wait for [`Script::answer`].
    pub fn hold_lookups(&self) {
        self.state().holds = true;
    }

    /// Lets that many held lookups go on.
    pub fn answer(&self, count: usize) {
        self.state().allowed += count;
        self.shared.woken.notify_all();
    }

    /// How many lookups have begun.
    pub fn lookups(&self) -> usize {
        self.state().lookups
    }

    fn look_one_up(&self, query: &Query) -> Answer {
        let mut state = self.state();
        state.lookups += 1;
        while state.holds && state.allowed == 0 {
            state = self.shared.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.allowed = state.allowed.saturating_sub(1);
        match query {
            Query::Addresses { host, .. } => {
                let host = host.as_ref().map_or_else(Vec::new, |host| host.to_bytes().to_vec());
                Answer::Names(host, Vec::new())
            }
            Query::Names { .. } => Answer::Refused(-2, b"unknown".to_vec()),
        }
    }

    /// How often the end of writing was said.
    pub fn shuts(&self, fd: i32) -> usize {
        self.state().shut.iter().filter(|&&shut| shut == fd).count()
    }
}

impl State {
    fn note(&mut self, call: &str, fd: Fd, interest: Interest) {
        let read = if interest.read { "r" } else { "" };
        let write = if interest.write { "w" } else { "" };
        self.calls.push(format!("{call} {} {read}{write}", fd.raw()).trim_end().to_owned());
    }

    fn attempt(&mut self, call: &str) -> io::Result<()> {
        self.failures.remove(call).map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn take(&mut self, fd: Fd, data: &[u8]) -> io::Result<usize> {
        self.sends += 1;
        let room = self.room.get_mut(&fd.raw()).and_then(VecDeque::pop_front);
        let count = room.unwrap_or(Ok(usize::MAX))?.min(data.len());
        if count == 0 && !data.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.sent.entry(fd.raw()).or_default().extend_from_slice(&data[..count]);
        Ok(count)
    }
}

impl State {
    fn post(&mut self, fd: Fd, messages: &[Outbound<'_>]) -> io::Result<usize> {
        self.sends += 1;
        let room = self.room.get_mut(&fd.raw()).and_then(VecDeque::pop_front);
        let count = room.unwrap_or(Ok(usize::MAX))?.min(messages.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = messages[..count].iter().map(|message| message.data.to_vec()).collect();
        self.posted.entry(fd.raw()).or_default().push(taken);
        Ok(count)
    }
}

impl Kernel for Script {
    fn look_up(&self) -> LookUp {
        let script = self.clone();
        Arc::new(move |query| script.look_one_up(query))
    }

    fn add(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        let mut state = self.state();
        state.note("add", fd, interest);
        state.attempt("add")?;
        if let Some(kind) = state.refuse {
            return Err(kind.into());
        }
        if state.registered.contains_key(&fd.raw()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.registered.insert(fd.raw(), (token, interest));
        Ok(())
    }

    fn modify(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        let mut state = self.state();
        state.note("modify", fd, interest);
        if let Some(kind) = state.refuse {
            return Err(kind.into());
        }
        match state.registered.get_mut(&fd.raw()) {
            Some(entry) => *entry = (token, interest),
            None => return Err(ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    fn remove(&self, fd: Fd) -> io::Result<()> {
        let mut state = self.state();
        state.note("remove", fd, Interest::NONE);
        state.registered.remove(&fd.raw()).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn prepare(&self) -> io::Result<()> {
        self.state().attempt("prepare")
    }

    fn renew(&self) -> io::Result<()> {
        let mut state = self.state();
        state.calls.push("renew".to_owned());
        state.attempt("renew")?;
        state.registered.clear();
        state.ghosts.clear();
        Ok(())
    }

    fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        let mut state = self.state();
        state.timeouts.push(timeout);
        batch.events.clear();
        state.attempt("wait")?;
        if state.blocks && timeout.is_none() && state.waits.is_empty() {
            state = self.until_woken(state)?;
        }
        state.heard = state.wakes;
        batch.events.extend(state.waits.pop_front().unwrap_or_default());
        batch.events.extend(&state.ghosts);
        Ok(())
    }

    fn wake(&self) {
        self.state().wakes += 1;
        self.shared.woken.notify_all();
    }

    fn receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.asked.push(buffer.len());
        let next = state.incoming.get_mut(&fd.raw()).and_then(VecDeque::pop_front);
        let data = next.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
        let count = data.len().min(buffer.len());
        buffer[..count].copy_from_slice(&data[..count]);
        if count < data.len() {
            let rest = Ok(data[count..].to_vec());
            state.incoming.entry(fd.raw()).or_default().push_front(rest);
        }
        Ok(count)
    }

    fn try_receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(fd, buffer)
    }

    fn try_receive_from(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<(usize, Name)> {
        Ok((self.receive(fd, buffer)?, Name::from_raw(&[])))
    }

    fn send_file(&self, fd: Fd, file: Fd, offset: u64, count: usize) -> io::Result<usize> {
        let mut state = self.state();
        state.attempt("send_file")?;
        let contents = state.contents.get(&file.raw()).cloned().unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        let end = start.saturating_add(count).min(contents.len());
        state.take(fd, &contents[start..end])
    }

    fn send(&self, fd: Fd, data: &[u8]) -> io::Result<usize> {
        self.state().take(fd, data)
    }

    fn send_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).collect();
        self.state().take(fd, &pieces.concat())
    }

    fn shutdown_write(&self, fd: Fd) -> io::Result<()> {
        self.state().shut.push(fd.raw());
        Ok(())
    }

    fn read(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        self.state().files.insert(fd.raw());
        self.receive(fd, buffer)
    }

    fn write(&self, fd: Fd, data: &[u8]) -> io::Result<usize> {
        self.state().files.insert(fd.raw());
        self.send(fd, data)
    }

    fn write_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.state().files.insert(fd.raw());
        self.send_vectored(fd, pieces)
    }

    fn accept(&self, _listener: Fd) -> io::Result<(Fd, Address)> {
        let next = self.state().arrivals.pop_front();
        let number = next.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
        let fd = Fd::new(number).ok_or(ErrorKind::InvalidInput)?;
        Ok((fd, Address::Other))
    }

    fn receive_datagrams(&self, fd: Fd, inbound: &mut Inbound) -> io::Result<()> {
        let mut state = self.state();
        let from = Name::v4(std::net::Ipv4Addr::LOCALHOST, 9);
        let mut any = false;
        while let Some(next) = state.incoming.get_mut(&fd.raw()).and_then(VecDeque::pop_front) {
            match next {
                Ok(data) if inbound.push(Some(&from), &data) => any = true,
                Err(error) if !any => return Err(error),
                // No place left, or an error, which is that of the next call.
                later => {
                    state.incoming.entry(fd.raw()).or_default().push_front(later);
                    return Ok(());
                }
            }
        }
        if any { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn send_datagram(&self, fd: Fd, message: Outbound<'_>) -> io::Result<()> {
        self.state().post(fd, &[message]).map(drop)
    }

    fn send_datagrams(&self, fd: Fd, messages: &[Outbound<'_>]) -> io::Result<usize> {
        self.state().post(fd, messages)
    }

    fn reap(&self, pidfd: Fd) -> io::Result<Option<Exit>> {
        self.state().exits.remove(&pidfd.raw()).transpose()
    }
}
