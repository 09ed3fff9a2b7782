"""The journal of decisions: kept, bounded, told in words. Only the composition imports this room."""
