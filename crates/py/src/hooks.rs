//! The Python objects that the binding uses, looked up once.
//!
//! Names that CPython keeps to itself are looked up by `oxloop._hooks`, the one place that knows
//! them; here are only the results.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::raw::{Global, Lookup, Ref, Slot};

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        /// Interned names of attributes and keywords.
        #[derive(Debug)]
        #[expect(non_snake_case, reason = "the names are Python's")]
        pub(crate) struct Names { $(pub(crate) $name: Ref,)* }

        impl Names {
            fn new(py: Python<'_>) -> Names {
                Names { $($name: PyString::intern(py, stringify!($name)).into(),)* }
            }
        }
    };
}

names! {
    context, time, name, fileno, data, _transports, eager_start, _run, _run_once, _cancelled, Future, Task,
    connection_made, connection_lost, data_received, eof_received,
    datagram_received, error_received,
    get_buffer, buffer_updated, pause_writing, resume_writing,
    _attach, _detach, _check_thread, _check_callback,
    read, write, pending, do_handshake, shutdown, unwrap,
    cancelled, set_result, create_future, pause_reading, resume_reading, __class__, _connected, _strong_reader,
    _buffer, _eof, _waiter, _exception, _transport, _paused, _limit, _loop,
    _reader, _protocol, _stream_reader, _connection_lost, _client_connected_cb, _drain_waiters,
    _complete_fut, _callbacks,
    peername, _begin, _call_connection_lost,
    proc, fd, stdout, stderr, feed_data, pipe_data_received, _pipe_data_received, _call, _pending_calls,
}

/// The members that an address of the commonest kinds is described with.
#[derive(Debug)]
pub(crate) struct SocketEnums {
    /// With their numbers.
    pub(crate) inet: (i32, Ref),
    pub(crate) inet6: (i32, Ref),
    pub(crate) stream: Ref,
    pub(crate) datagram: Ref,
    /// The empty canonical name.
    pub(crate) no_name: Ref,
}

impl SocketEnums {
    fn new(members: &Bound<'_, PyAny>) -> PyResult<SocketEnums> {
        let py = members.py();
        let [inet, inet6, stream, datagram]: [Bound<'_, PyAny>; 4] = members.extract()?;
        Ok(SocketEnums {
            inet: (inet.extract()?, inet.into()),
            inet6: (inet6.extract()?, inet6.into()),
            stream: stream.into(),
            datagram: datagram.into(),
            no_name: PyString::intern(py, "").into(),
        })
    }
}

/// Everything of Python's that is needed while running.
#[derive(Debug)]
pub(crate) struct Hooks {
    pub(crate) names: Names,
    /// A string that was found to be `context` too: `_asyncio` passes one of its own, which is not
    /// interned, with every step.
    other_context: Slot,
    module: Ref,
    pub(crate) buffered_protocol: Ref,
    pub(crate) stream_reader_protocol: Ref,
    /// Exceptions of a TLS session that needs more, and of one that was ended by its peer.
    pub(crate) tls_again: Ref,
    pub(crate) tls_ended: Ref,
    /// Names of `get_extra_info` that transports over TLS, pipes and children have.
    pub(crate) others_extra: Ref,
    /// The modules whose `Future` and `Task` are made: looked up at every call, as asyncio does.
    pub(crate) futures: Ref,
    pub(crate) tasks: Ref,
    /// The type of what a C Task passes to `call_soon` to be stepped; null if unknown.
    task_step: Option<Ref>,
    /// The C function behind what a C Task leaves with a future to be woken.
    task_wakeup: Option<ffi::PyCFunction>,
    pub(crate) loop_name: Ref,
    pub(crate) loop_keyword: Ref,
    /// 3.13.3: `create_task` hands its keywords to the task factory.
    pub(crate) factories_take_keywords: bool,
    /// `asyncio.eager_task_factory` (3.12), the Task it makes, and the keywords it makes it with.
    eager_factory: Option<Ref>,
    pub(crate) task: Ref,
    /// `asyncio.Future`, and a tuple of nothing.
    pub(crate) future: Ref,
    pub(crate) no_arguments: Ref,
    pub(crate) eager_keywords: Ref,
    pub(crate) set_result_unless_cancelled: Ref,
    pub(crate) get_running_loop: Ref,
    /// Before 3.12: the key of a thread's dict that has what notes its running loop.
    pub(crate) running_loop_key: Option<Ref>,
    pub(crate) socket_enums: SocketEnums,
    socket: Ref,
    /// 3.13: `Server._attach` takes the transport.
    pub(crate) server_counts_transports: bool,
    /// 3.13: what a waiting datagram counts for beside its bytes.
    pub(crate) datagram_header: u32,
}

static HOOKS: Global<Hooks> = Global::new();

/// The hooks of this process. The module's initialisation has loaded them.
#[inline(always)]
pub(crate) fn hooks() -> &'static Hooks {
    HOOKS.get()
}

impl Hooks {
    /// Called once, by the module's initialisation.
    pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
        let module = py.import("oxloop._hooks")?;
        let get = |name: &str| module.getattr(name);
        let optional = |name: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
            Ok(Some(get(name)?).filter(|value| !value.is_none()))
        };
        let loop_keyword = PyTuple::new(py, [PyString::intern(py, "loop")])?;
        let eager_keywords = ["loop", "eager_start"].map(|name| PyString::intern(py, name));
        let eager_keywords = PyTuple::new(py, eager_keywords)?;
        let hooks = Hooks {
            names: Names::new(py),
            other_context: Slot::new(),
            buffered_protocol: get("BufferedProtocol")?.into(),
            stream_reader_protocol: get("StreamReaderProtocol")?.into(),
            tls_again: get("TLS_AGAIN")?.into(),
            tls_ended: get("TLS_ENDED")?.into(),
            others_extra: get("OTHERS_EXTRA_INFO")?.into(),
            futures: get("FUTURES")?.into(),
            tasks: get("TASKS")?.into(),
            task_step: optional("TASK_STEP_TYPE")?.map(Ref::from),
            task_wakeup: optional("TASK_WAKEUP")?.and_then(|wakeup| c_function(&wakeup)),
            loop_name: PyString::intern(py, "loop").into(),
            loop_keyword: loop_keyword.into(),
            factories_take_keywords: get("FACTORIES_TAKE_KEYWORDS")?.extract()?,
            eager_factory: optional("EAGER_TASK_FACTORY")?.map(Ref::from),
            task: get("Task")?.into(),
            future: get("Future")?.into(),
            no_arguments: PyTuple::empty(py).into_any().into(),
            eager_keywords: eager_keywords.into(),
            set_result_unless_cancelled: get("set_result_unless_cancelled")?.into(),
            get_running_loop: get("get_running_loop")?.into(),
            running_loop_key: optional("RUNNING_LOOP_KEY")?.map(Ref::from),
            socket_enums: SocketEnums::new(&get("SOCKET_ENUMS")?)?,
            socket: get("Socket")?.into(),
            server_counts_transports: get("SERVER_ATTACH_TAKES_TRANSPORT")?.extract()?,
            datagram_header: get("DATAGRAM_HEADER_SIZE")?.extract()?,
            module: module.as_any().into(),
        };
        // SAFETY: called once, by the module's initialisation, before anything that reads it.
        unsafe { HOOKS.set(hooks) };
        Ok(())
    }

    /// A function or class of `oxloop._hooks`, for what is not called often.
    pub(crate) fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.module.bind(py).attribute(name)
    }

    pub(crate) fn base_class<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<Bound<'py, PyType>> {
        Ok(self.get(py, name)?.cast_into::<PyType>()?)
    }

    /// The base of what `call_soon_threadsafe` returns, where it has its own (3.14).
    pub(crate) fn threadsafe_handle<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyType>>> {
        let class = self.get(py, "ThreadSafeHandle")?;
        if class.is_none() { Ok(None) } else { Ok(Some(class.cast_into::<PyType>()?)) }
    }

    /// Whether `sock` is a `socket.socket` by its type, not something that stands in for one: only
    /// then are system calls on its descriptor what its methods would do.
    pub(crate) fn is_real_socket(&self, sock: &Bound<'_, PyAny>) -> bool {
        // SAFETY: two type objects, alive for the call.
        unsafe { ffi::PyType_IsSubtype(sock.get_type_ptr(), self.socket.as_ptr().cast()) != 0 }
    }

    #[inline]
    pub(crate) fn is_eager_factory(&self, factory: &Ref) -> bool {
        self.eager_factory.as_ref().is_some_and(|eager| eager.as_ptr() == factory.as_ptr())
    }

    /// Whether a keyword is one that Task takes, and `create_task` may pass on.
    pub(crate) fn is_task_keyword(&self, keyword: *mut ffi::PyObject) -> bool {
        let Names { name, context, eager_start, .. } = &self.names;
        same(keyword, name)
            || same(keyword, context)
            || (self.factories_take_keywords && same(keyword, eager_start))
    }

    #[inline]
    pub(crate) fn is_context_keyword(&self, keyword: *mut ffi::PyObject) -> bool {
        keyword == self.other_context.as_ptr()
            || keyword == self.names.context.as_ptr()
            || self.is_named_context(keyword)
    }

    /// By value. The string is held, so its address stays its own.
    #[cold]
    fn is_named_context(&self, keyword: *mut ffi::PyObject) -> bool {
        let is_context = same(keyword, &self.names.context);
        if is_context {
            // SAFETY: alive for the call.
            self.other_context.set(Some(unsafe { Ref::from_borrowed(keyword) }));
        }
        is_context
    }

    /// Whether a call `call_soon(callback, context=…)` is a C Task that asks for a step.
    #[inline]
    pub(crate) fn is_task_step(&self, callback: *mut ffi::PyObject) -> bool {
        // SAFETY: callers pass a live object.
        let ty = unsafe { ffi::Py_TYPE(callback) };
        self.task_step.as_ref().is_some_and(|step| step.as_ptr() == ty.cast())
    }

    /// Whether a call `call_soon(callback, future, context=…)` wakes a C Task.
    #[inline]
    pub(crate) fn is_task_wakeup(&self, callback: *mut ffi::PyObject) -> bool {
        let Some(wakeup) = self.task_wakeup else { return false };
        // SAFETY: callers pass a live object; the function is read after the type check.
        unsafe {
            ffi::PyCFunction_CheckExact(callback) != 0
                && ffi::PyCFunction_GetFunction(callback)
                    .is_some_and(|function| std::ptr::fn_addr_eq(function, wakeup))
        }
    }
}

/// Whether two strings are the same. By value: `_asyncio` passes names that are not interned.
fn same(keyword: *mut ffi::PyObject, name: &Ref) -> bool {
    // SAFETY: two strings, alive for the call.
    keyword == name.as_ptr() || unsafe { ffi::PyUnicode_Compare(keyword, name.as_ptr()) } == 0
}

fn c_function(callback: &Bound<'_, PyAny>) -> Option<ffi::PyCFunction> {
    // SAFETY: the type is checked before the function is read.
    unsafe {
        if ffi::PyCFunction_CheckExact(callback.as_ptr()) == 0 {
            return None;
        }
        ffi::PyCFunction_GetFunction(callback.as_ptr())
    }
}
