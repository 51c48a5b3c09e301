//! Which lookups are no lookups: addresses and port numbers that are written out.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether the C library answers without files and networks, so that one may ask it right away.
pub fn needs_no_network(host: Option<&[u8]>, service: Option<&[u8]>) -> bool {
    host.is_none_or(is_literal) && service.is_none_or(is_number)
}

fn is_literal(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    // A scope is a number or the name of an interface; the kernel knows those.
    let v6 = host.split_once('%').map_or(host, |(address, _)| address);
    host.parse::<Ipv4Addr>().is_ok() || v6.parse::<Ipv6Addr>().is_ok()
}

fn is_number(service: &[u8]) -> bool {
    !service.is_empty() && service.iter().all(u8::is_ascii_digit)
}
