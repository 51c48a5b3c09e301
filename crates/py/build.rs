//! Tells the sources which CPython they are built for (`cfg(Py_3_12)` and the like), and says in one
//! sentence for which Pythons this cannot be built, instead of in a stack of errors.

use pyo3_build_config::PythonImplementation;

fn main() {
    let python = pyo3_build_config::get();
    let (kind, version) = (python.implementation(), python.version());
    if kind != PythonImplementation::CPython {
        println!(
            "cargo::error=oxloop runs on CPython only, not on {kind}: use asyncio's own event loop \
             there, for instance by making oxloop a dependency with the marker \
             `; implementation_name == \"cpython\"`."
        );
    } else if (version.major, version.minor) < (3, 11) {
        println!("cargo::error=oxloop needs Python 3.11 or newer, this is {version}.");
    }
    pyo3_build_config::use_pyo3_cfgs();
}
