"""A page of this machine, opened in browsers elsewhere: the link, who came, and what they said.

A browser opens the link, tells what it is and gets a place. From then on whoever holds the place asks, and the page
answers. Nothing is known here of benchmarks and validations: ``latency.devices.browser`` and ``accuracy.browser`` are
the two that ask.
"""
