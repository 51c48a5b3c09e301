//! Other native modules on this loop: the table of C functions that they find in the capsule
//! `oxloop._oxloop._C_API`, declared in `crates/abi`, and what is behind it.
//!
//! What comes in is held in C's terms ([`NativeCall`], [`NativeProtocol`]): pointers whose end we owe
//! to who gave them. Every function of the table catches panics, and takes it that the thread is
//! attached unless the declaration says otherwise.

mod call;
mod protocol;
mod remote;
mod table;
mod transport;

use pyo3::prelude::*;

pub(crate) use call::NativeCall;
pub(crate) use protocol::NativeProtocol;
pub(crate) use remote::Remote;

/// Makes the types, and gives the module its capsule.
pub(crate) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
    call::init(module.py())?;
    module.add_class::<NativeProtocol>()?;
    table::publish(module)
}
