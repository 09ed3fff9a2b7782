"""How we know what runs: pidfds, runtime events, relist, and the cache of observed pods."""
