"""Readers: each turns its files into chunks of raw columns. The specification of a source opens its reader."""
