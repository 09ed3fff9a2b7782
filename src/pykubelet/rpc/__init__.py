"""Our own protos and their stubs, and gRPC over Unix sockets."""
