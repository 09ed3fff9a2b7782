"""Pods: their sources, store and admission, one worker each, and the pure plan and status."""
