"""Generated protobuf stubs; see pykubelet.rpc.generate."""
