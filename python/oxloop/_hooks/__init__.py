"""Every private name of CPython that oxloop uses, named once.

asyncio keeps the right to change them with any release. Each is looked up in the module of its
subject, with its difference between versions, and held by a test in ``tests/test_hooks.py``. The
extension module asks this package for what it needs, by name, and so does the Python half: all of
that is imported below. (The slots that native handles and transports fill are named where they are
filled, in ``handle/layout.rs`` and ``transport/types.rs``.)
"""

from asyncio import Future, Handle, Task, base_events, constants

from .children import (
    CHILD_OUTPUT,
    has_own_child_watcher,
    report_child_error,
    warn_closed_loop,
    warn_unknown_child,
)
from .classes import (
    DATAGRAM_TRANSPORT_CONSTANTS,
    READ_PIPE_CONSTANTS,
    STREAM_TRANSPORT_CONSTANTS,
    WRITE_PIPE_CONSTANTS,
    BaseSubprocessTransport,
    BufferedProtocol,
    DatagramBase,
    DefaultEventLoopPolicy,
    FlowControlMixin,
    ReadTransport,
    SelectorEventLoop,
    Socket,
    StreamReaderProtocol,
    TimerHandle,
    audit,
    fsdecode,
    set_event_loop_policy,
    strerror,
)
from .reports import (
    log_closed_by_peer,
    log_transport,
    refuse_pipe_data,
    report_connection_made_error,
    report_data_received_error,
    report_fatal_error,
    report_flow_error,
    report_protocol_error,
    report_read_pipe_error,
    warn_lost_pipe_write,
    warn_lost_write,
    warn_unclosed,
)
from .running import (
    RUNNING_LOOP_KEY,
    begin_run,
    end_run,
    extract_stack,
    get_running_loop,
    is_finalizing,
    is_handle_run_patched,
    original_handle_run,
    own_methods,
    report_callback_error,
    report_native_error,
    run_in_debug_mode,
    set_wakeup_fd,
)
from .sendfile import regular_file, sendfile_error
from .serving import (
    accept_failed,
    accept_tls,
    check_ssl_socket,
    fileno_of,
    fileobj_to_fd,
    refuse_used_fd,
    report_accept_error,
)
from .sockets import (
    SOCKET_ENUMS,
    addrinfo,
    gaierror,
    getaddrinfo,
    getnameinfo,
    socket_connect,
    socket_family,
    socket_sendto,
    socket_type,
)
from .streams import (
    READER_STATE,
    STREAM_CLASSES,
    are_streams_known,
    fresh_attributes,
    is_stream_class_stock,
    stream_overrides,
)
from .tasks import (
    EAGER_TASK_FACTORY,
    FACTORIES_TAKE_KEYWORDS,
    FUTURES,
    TASK_STEP_TYPE,
    TASK_WAKEUP,
    TASKS,
    base_create_task,
    set_result_unless_cancelled,
)
from .tls import (
    SSL_TRANSPORT_CONSTANTS,
    TLS_AGAIN,
    TLS_ENDED,
    TLS_SESSION,
    SSLContext,
    SSLObject,
    SSLProtocol,
    SSLProtocolView,
    TruncatedError,
    check_tls_not_forced,
    is_tls_patched,
    log_tls_handshake,
    may_go_direct,
    received_before_tls,
    report_tls_accept_error,
    ssl,
    tell_stream_of_truncation,
    tls_forgives_truncation,
    tls_handshake_message,
    tls_handshake_timeout_message,
    tls_info,
    tls_library,
    tls_read_limits,
    tls_session,
    tls_truncation,
    tls_unknown_error,
    tls_write_limits,
    warn_lost_tls_write,
    warn_tls_keep_open,
)
from .transports import (
    OTHERS_EXTRA_INFO,
    add_credentials,
    closed_socket,
    is_plain_datagram_socket,
    literal_address,
    make_foreign_datagram_transport,
    make_foreign_transport,
    note_transport,
    pipe_extra,
    read_pipe_repr,
    socket_of_fd,
    transport_extra,
    transport_repr,
    transport_socket,
    write_buffer_limits,
    write_pipe_repr,
    write_type_error,
)
from .versions import (
    DATAGRAM_HEADER_SIZE,
    PYTHON,
    SERVER_ATTACH_TAKES_TRANSPORT,
    SERVER_HAS_CONTEXT,
    ThreadSafeHandle,
)
