"""The API server as a node sees it."""
