use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oxloop::get_running_loop;

use crate::connections::{Doing, Talker, until};
use crate::support::{Log, run};

#[test]
fn bytes_go_through_a_pipe() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let read = event_loop.connect_read_pipe(|| Talker::new(&log), reader).unwrap();
        let write = event_loop.connect_write_pipe(|| Doing(|_: &_, _: &_| ()), writer).unwrap();
        write.write(b"through");
        write.write_eof();
        assert_eq!(until(&log, 4).await, ["made", "through", "eof", "lost"]);
        assert!(read.is_closing());
    });
}

#[test]
fn the_writer_hears_that_nobody_reads() {
    let log = Log::default();
    run(async {
        let event_loop = get_running_loop().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let write = event_loop.connect_write_pipe(|| Talker::new(&log), writer).unwrap();
        drop(reader);
        assert_eq!(until(&log, 2).await, ["made", "lost"]);
        assert!(write.is_closing());
    });
}

#[test]
fn pipes_are_streams_too() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut reader = event_loop.open_read_pipe(reader).unwrap();
        let mut writer = event_loop.open_write_pipe(writer).unwrap();
        let data = vec![b'x'; 500_000];
        let sending = oxloop::create_task(async move { writer.write_all(&data).await });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        sending.await.unwrap().unwrap();
        assert_eq!(got.len(), 500_000);
    });
}

#[test]
fn regular_files_are_refused() {
    run(async {
        let event_loop = get_running_loop().unwrap();
        let file = std::env::current_exe().and_then(std::fs::File::open).unwrap();
        assert!(event_loop.open_read_pipe(file).is_err());
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        event_loop.open_write_pipe(null).unwrap().write_all(b"nothing").await.unwrap();
    });
}
