"""The composition: each room built, and its doors joined to the others'. It decides nothing about pods.

:mod:`pykubelet.kubelet` puts these parts together.
"""
