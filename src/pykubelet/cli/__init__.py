"""The command line: ``main`` has the group; each command is a file of its own, loaded when called."""
