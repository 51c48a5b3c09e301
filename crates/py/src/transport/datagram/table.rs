//! The type's own methods and attributes.

use super::super::Transport;
use super::super::types::Table;
use crate::raw::{getset, method};

pub(in super::super) fn datagram_table() -> Table {
    type This<'a> = Transport<'a>;
    let methods = vec![
        method!(fast c"sendto", This<'_>, Transport::py_sendto),
        method!(noargs c"close", This<'_>, Transport::py_close),
        method!(noargs c"abort", This<'_>, Transport::py_abort),
        method!(noargs c"is_closing", This<'_>, Transport::py_is_closing),
        method!(noargs c"pause_reading", This<'_>, Transport::py_pause_reading),
        method!(noargs c"resume_reading", This<'_>, Transport::py_resume_reading),
        method!(noargs c"is_reading", This<'_>, Transport::py_is_reading),
        method!(noargs c"get_protocol", This<'_>, Transport::py_get_protocol),
        method!(one c"set_protocol"("protocol"), This<'_>, Transport::py_set_protocol),
        method!(noargs c"get_write_buffer_size", This<'_>, Transport::py_buffer_size),
        method!(noargs c"get_write_buffer_limits", This<'_>, Transport::py_limits),
        method!(fast c"set_write_buffer_limits", This<'_>, Transport::py_set_limits),
        method!(one c"_begin", This<'_>, Transport::py_begin),
        method!(one c"_force_close", This<'_>, Transport::py_force_close),
        method!(fast c"_fatal_error", This<'_>, Transport::py_fatal_error),
        method!(one c"_call_connection_lost", This<'_>, Transport::py_connection_lost),
        method!(noargs c"_is_write_blocked", This<'_>, Transport::py_is_write_blocked),
    ];
    let attributes = vec![
        getset!(c"_extra", This<'_>, Transport::get_extra, Transport::set_extra),
        getset!(c"_address", This<'_>, Transport::get_address),
        getset!(c"_sock", This<'_>, Transport::get_sock),
        getset!(c"_sock_fd", This<'_>, Transport::get_sock_fd),
        getset!(c"_protocol", This<'_>, Transport::get_protocol, Transport::set_protocol),
        getset!(c"_server", This<'_>, Transport::get_server),
        getset!(c"_paused", This<'_>, Transport::get_paused),
        getset!(c"_closing", This<'_>, Transport::py_is_closing),
        getset!(c"_conn_lost", This<'_>, Transport::get_lost),
        getset!(c"_protocol_connected", This<'_>, Transport::get_connected),
        getset!(c"_protocol_paused", This<'_>, Transport::get_protocol_paused),
        getset!(c"_buffer_size", This<'_>, Transport::py_buffer_size),
        getset!(c"_high_water", This<'_>, Transport::get_high_water),
        getset!(c"_low_water", This<'_>, Transport::get_low_water),
    ];
    Table { methods, attributes, own_slots: Vec::new() }
}
