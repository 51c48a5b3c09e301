use std::process::{Command, Stdio};

use futures_lite::AsyncReadExt;
use oxloop::{EventLoop, Exit, SubprocessProtocol, SubprocessTransport, get_running_loop};

use crate::connections::until;
use crate::support::{Dropped, Log, run};

struct Noting(Log);

impl SubprocessProtocol for Noting {
    fn connection_made(&mut self, _: &SubprocessTransport) {
        self.0.say("made");
    }

    fn pipe_data_received(&mut self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
        self.0.say(format!("{fd}: {}", String::from_utf8_lossy(data).trim_end()));
    }

    fn pipe_connection_lost(
        &mut self,
        _: &SubprocessTransport,
        fd: i32,
        error: Option<&std::io::Error>,
    ) {
        self.0.say(format!("{fd} lost{}", if error.is_some() { " with an error" } else { "" }));
    }

    fn process_exited(&mut self, transport: &SubprocessTransport) {
        self.0.say(format!("{:?}", transport.returncode()));
    }

    fn connection_lost(&mut self, _: &SubprocessTransport) {
        self.0.say("lost");
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_child_is_talked_to_and_its_end_told_last() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let script = "read line; echo got $line; echo oh >&2; exit 3";
        let child = event_loop.subprocess_exec(|| Noting(log.clone()), shell(script)).unwrap();
        child.get_pipe_transport(0).unwrap().write(b"words\n");
        let mut said = until(&log, 8).await;
        assert_eq!((said.remove(0).as_str(), said.pop().as_deref()), ("made", Some("lost")));
        said.sort();
        let expected = ["0 lost", "1 lost", "1: got words", "2 lost", "2: oh", "Some(Code(3))"];
        assert_eq!(said, expected);
        assert!(child.kill().is_err());
        assert_eq!(child.wait().await, Exit::Code(3));
    });
}

#[test]
fn signals_end_children() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let child = event_loop.subprocess_exec(|| Noting(log.clone()), shell("sleep 60")).unwrap();
        child.terminate().unwrap();
        assert_eq!(child.wait().await, Exit::Signal(15));
        child.close();
    });
}

#[test]
fn many_short_children_are_all_heard_of() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let children = (0..40).map(|number| {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("exit {number}"));
            let child = event_loop.create_subprocess(command).unwrap();
            async move { child.wait().await }
        });
        let ends = oxloop::gather(children.collect::<Vec<_>>()).await;
        for (number, end) in ends.into_iter().enumerate() {
            assert_eq!(end.unwrap(), Exit::Code(number as i32));
        }
    });
}

#[test]
fn a_process_that_is_dropped_is_killed() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let mut child = event_loop.create_subprocess(shell("sleep 60")).unwrap();
        let (mut output, watched) = (child.stdout.take().unwrap(), (*child).clone());
        drop(child);
        assert_eq!(watched.wait().await, Exit::Signal(9));
        drop(watched);
        // The shell's own child may have the pipe.
        drop(oxloop::timeout(std::time::Duration::from_millis(1), output.read(&mut [0])).await);
    });
}

#[test]
fn children_end_with_the_loop() {
    let log = Log::default();
    let event_loop = EventLoop::new();
    struct Held(#[expect(dead_code)] Dropped);
    impl SubprocessProtocol for Held {}
    let held = Held(Dropped(log.clone(), "dropped"));
    let child = event_loop.subprocess_exec(|| held, shell("exec sleep 60")).unwrap();
    let pid = child.pid();
    drop(event_loop);
    assert_eq!(log.take(), ["dropped"]);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(child.kill().is_err());
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let event_loop = EventLoop::new();
    assert!(event_loop.create_subprocess(Command::new("/does/not/exist")).is_err());
}
