"""A world whose truth is known: tools, people who ask for them, and a teacher that knows the right
answer.

Everything here is a SIMULATION and is called so wherever its results appear. Stages reach it only
through an OpenAI-compatible client whose base URL is "simulated" (or points at `python -m
looptool.simulation.server`).

The truth of a task is a pure function of its tools and context (`world/truth.py`): every sentence
that the world speaks is read back when it is made, so no state has to be kept, and any stage can be
killed and run again.
"""
