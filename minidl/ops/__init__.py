"""Ops: pure forward and backward functions on arrays, one family a file."""
