"""Benchmarks: ``make bench`` measures, and writes the README's table.

Everything that is compared is measured in turns, round by round, so that a busy machine slows all of it alike.
"""
