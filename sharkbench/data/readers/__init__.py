"""Readers: each turns its files into chunks of raw columns. What a suite says of a source opens its reader."""
