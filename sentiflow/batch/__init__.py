"""Scoring of whole tables and folders: in chunks, by several processes.

Memory is bounded by the size of a chunk, whatever the size of the input.
"""
