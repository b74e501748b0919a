"""Beneath the data convention: items of every kind, pairs by arithmetic, checks.

================  ==============================================================
`items`           arrays, CSR, DataFrames, texts, tensors under one roof
`enumeration`     every pair, numbered by arithmetic
`checks`          what users pass as X and y, brought to one form
`reprs`           how comparisons show themselves
================  ==============================================================
"""

__all__ = []
