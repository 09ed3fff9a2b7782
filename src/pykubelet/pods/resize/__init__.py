"""Changing the resources of pods that run: what is allocated, what is in force, and the way between them.

``amounts``, ``judge``, ``plan``, ``seen``, ``story`` are pure; ``checkpoint`` keeps the two files,
``conditions`` what is reported; ``allocation`` decides, ``resizer`` carries out.
"""
