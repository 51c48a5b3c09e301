//! The CPython binding of oxloop: the extension module `oxloop._oxloop`.
//!
//! Here engine steps become Python calls and Python calls engine methods. Nothing below this crate
//! knows Python; nothing in it makes a system call except through `oxloop-os`.
//!
//! Rules: no borrow of the engine is alive when Python may run; references are [`raw::Ref`]s,
//! dropped outside of borrows; every method that the interpreter calls goes through
//! [`raw::entry`] or PyO3, so no panic crosses the border (the collector's slots call nothing that
//! can panic); private names of CPython are looked up
//! by `oxloop._hooks` alone.

mod errors;
mod event_loop;
mod handle;
mod hooks;
mod host;
mod native;
mod raw;
mod streams;
mod transport;

use pyo3::prelude::*;

/// The native half of oxloop. Use the names of the package `oxloop` instead.
#[pymodule(gil_used = true)]
fn _oxloop(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    hooks::Hooks::load(py)?;
    handle::init(py, hooks::hooks())?;
    transport::init(py, hooks::hooks())?;
    streams::init(py)?;
    event_loop::init(py)?;
    native::init(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<event_loop::Loop>()?;
    module.add("Handle", handle::layout().handle.bind(py))?;
    module.add("TimerHandle", handle::layout().timer.bind(py))?;
    module.add("SSLTransport", transport::tls_type_object(py))?;
    for class in transport::type_objects(py) {
        module.add(class.name()?, class)?;
    }
    Ok(())
}
