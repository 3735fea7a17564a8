"""Property tests look at the same examples every time, however slow the machine is.

To look for new ones:
`make test ARGS="test/evaluation/test_pairing.py --hypothesis-profile=default"`.
"""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
