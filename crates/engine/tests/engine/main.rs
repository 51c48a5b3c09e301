//! The engine on a scripted kernel: no socket, no sleep, no Python. One file per subject; `setup`
//! has the words that they share. A [`Bench`](oxloop_engine::testing::Bench) writes every step
//! down, so most tests compare what happened, in its order, with what should have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod budget;
mod children;
mod datagram_receive;
mod datagram_send;
mod gc;
mod ghosts;
mod inbox;
mod interrupted;
mod listener;
mod pipes;
mod resolver;
mod setup;
mod stream_close;
mod stream_end;
mod stream_file;
mod stream_fill;
mod stream_flow;
mod stream_flush;
mod stream_large;
mod stream_offer;
mod stream_read;
mod stream_write;
mod timers;
mod tls_close;
mod tls_pump;
mod turn;
mod watch_once;
mod watch_reuse;
mod watches;
