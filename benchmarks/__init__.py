"""Benchmarks: ``make bench`` measures, and writes the table in docs/speed.md.

Everything that is compared is measured in turns, round by round, so that a busy machine slows all of it alike.
"""
