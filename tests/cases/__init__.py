"""Inputs for every op and kernel: what the contract tests draw from."""
