"""Datagram endpoints that receive at once."""

from support import Datagrams


def name_of(transport):
    return transport.get_extra_info("sockname")


def deliver(endpoint, plain, run, datagrams, **hooks):
    """Have an endpoint receive these, which are there at once."""
    transport, protocol = endpoint(lambda: Datagrams(**hooks))
    for data in datagrams:
        plain.sendto(data, name_of(transport))
    return transport, protocol


def data_of(protocol):
    return [data for data, _ in protocol.received]
