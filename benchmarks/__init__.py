"""Measurements: how long things take, how much memory they hold, against a reference.

Belongs here: one module for each benchmark, what they are set up with, the arithmetic of figures.
Never: anything the service imports, or a figure that was typed by hand.
"""
