"""A failed gRPC call, in the words that Go's client has for it."""

import enum


class Code(enum.Enum):
    """gRPC's status codes, named as Go prints them; values as on the wire."""

    OK = 0
    Canceled = 1
    Unknown = 2
    InvalidArgument = 3
    DeadlineExceeded = 4
    NotFound = 5
    AlreadyExists = 6
    PermissionDenied = 7
    ResourceExhausted = 8
    FailedPrecondition = 9
    Aborted = 10
    OutOfRange = 11
    Unimplemented = 12
    Internal = 13
    Unavailable = 14
    DataLoss = 15
    Unauthenticated = 16


class RpcError(Exception):
    """A call failed; its text is ``rpc error: code = X desc = Y``.

    *message* is the server's own words, or Go's for what happened on our side.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"rpc error: code = {code.name} desc = {message}")
        self.code = code
        self.message = message
