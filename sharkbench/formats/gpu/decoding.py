"""Code that the kernels share: the row of a lookup, the position of a tiered row, decoding of a stored row."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def asked(ids, sample_stride, column_stride, places, count, columns: tl.constexpr, block: tl.constexpr):
    """Of this program's lookups: whether there is one, its sample, column, position among the ids, and id (int64)."""
    lookup = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    there = lookup < count
    sample, column = lookup // columns, lookup % columns
    place = tl.load(places + column, there, other=0)
    row_id = tl.load(ids + sample * sample_stride + place * column_stride, there, other=0)
    return there, sample, column, place, row_id.to(tl.int64)


@triton.jit
def store(out, sample, place, there, values, out_strides: tl.constexpr, width: tl.constexpr, tile: tl.constexpr):
    """Store the columns from ``program_id(1) * tile`` on of each lookup's vector."""
    column = tl.program_id(1) * tile + tl.arange(0, tile)
    start = sample * out_strides[0] + place * out_strides[1]
    tl.store(out + start[:, None] + column[None, :], values, there[:, None] & (column < width)[None, :])


@triton.jit
def floats(rows, start, number, mask, size: tl.constexpr, brain: tl.constexpr, align: tl.constexpr):
    """Value ``number`` of those that begin at byte ``start``, a multiple of ``align``, as float32.

    ``size`` 4: fp32, 2: fp16, or bf16 if ``brain``. Read in the largest words that cannot straddle.
    """
    word: tl.constexpr = min(size, align)
    if word == 4:
        words = rows.to(tl.pointer_type(tl.uint32))
    elif word == 2:
        words = rows.to(tl.pointer_type(tl.uint16))
    else:
        words = rows
    per: tl.constexpr = size // word
    first = tl.multiple_of(start // word, [align // word] * len(start.shape))
    at = words + (first + number * per)
    bits = tl.load(at, mask, other=0).to(tl.uint32)
    for k in tl.static_range(1, per):
        bits |= tl.load(at + k, mask, other=0).to(tl.uint32) << (8 * word * k)
    if size == 4:
        values = bits.to(tl.float32, bitcast=True)
    elif brain:
        values = (bits << 16).to(tl.float32, bitcast=True)
    else:
        values = bits.to(tl.uint16).to(tl.float16, bitcast=True).to(tl.float32)
    return values


@triton.jit
def decode(
    rows, address, there, first,
    codecs: tl.constexpr, t: tl.constexpr, width: tl.constexpr, align: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """``[block, tile]`` float32: values from ``first`` on of the rows stored at ``address``; 0 outside ``width``.

    ``codecs`` has the five words of :meth:`RowCodec.words` for each codec; the ``t``-th codec is used. Addresses are
    bytes into ``rows``, multiples of ``align``; ``first`` is a multiple of the codes in a byte. Multiply, then add,
    each rounded, as :meth:`RowCodec.decode` does.
    """
    kind: tl.constexpr = codecs[5 * t]
    column = first + tl.arange(0, tile)
    mask = there[:, None] & ((column >= 0) & (column < width))[None, :]
    if kind < 3:
        values = floats(rows, address[:, None], column[None, :], mask, 2 if kind else 4, kind == 2, align)
    else:
        size: tl.constexpr = codecs[5 * t + 1]
        symmetric: tl.constexpr = codecs[5 * t + 2]
        tail: tl.constexpr = codecs[5 * t + 3]
        bits: tl.constexpr = 8 >> (kind - 3)
        per: tl.constexpr = 8 // bits
        body: tl.constexpr = width - tail
        code_bytes: tl.constexpr = (body * bits + 7) // 8
        end: tl.constexpr = code_bytes + 2 * tail
        byte = first // per + tl.arange(0, tile // per)
        held = there[:, None] & ((byte >= 0) & (byte < code_bytes))[None, :]
        codes = tl.load(rows + tl.multiple_of(address[:, None], [align, align]) + byte[None, :], held, other=0)
        if per > 1:
            shifts = (tl.arange(0, per) * bits).to(tl.uint8)
            each = (codes[:, :, None] >> shifts[None, None, :]) & ((1 << bits) - 1)
            codes = tl.reshape(each, [address.shape[0], tile])
        # The lowest bit of two numbers together: the largest power of two that divides both.
        at_end: tl.constexpr = (align | end) & -(align | end)
        scale = floats(rows, address + end, 0, there, size, False, at_end)
        if symmetric:
            zero: tl.constexpr = 0.5 if bits == 1 else 1 << (bits - 1)
            offset = scale * -zero
        else:
            at_offset: tl.constexpr = (align | (end + size)) & -(align | (end + size))
            offset = floats(rows, address + (end + size), 0, there, size, False, at_offset)
        values = codes.to(tl.float32) * scale[:, None] + offset[:, None]
        if tail:
            at_tail: tl.constexpr = (align | code_bytes) & -(align | code_bytes)
            beside, start = mask & (column >= body)[None, :], (address + code_bytes)[:, None]
            if tail == 1:
                kept = floats(rows, start, 0, there[:, None], 2, False, at_tail)
            else:
                kept = floats(rows, start, (column - body)[None, :], beside, 2, False, at_tail)
            values = tl.where(beside, kept, values)
        values = tl.where(mask, values, 0.0)
    return values


@triton.jit
def popcount(words):
    """Bits set in each int64; compilers know the idiom and make it one instruction."""
    x = words.to(tl.uint64, bitcast=True)
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56).to(tl.int64)


@triton.jit
def locate(planes, ranks, firsts, row, there, tiers: tl.constexpr):
    """Tiers and ranks of rows, as :meth:`TierIndex.locate` finds them; ``tiers``: 2 to 8."""
    count: tl.constexpr = 1 if tiers <= 2 else (2 if tiers <= 4 else 3)
    block, bit = row >> 6, row & 63
    members = (tl.full(bit.shape, 1, tl.int64) << bit) - 1
    tier = tl.zeros(bit.shape, tl.int32)
    for p in tl.static_range(count):
        word = tl.load(planes + block * count + p, there, other=0)
        own = (word >> bit) & 1
        members &= ~(word ^ -own)
        tier |= own.to(tl.int32) << p
    rank = tl.load(firsts + (row >> 16) * tiers + tier, there, other=0)
    rank += tl.load(ranks + block * tiers + tier, there, other=0).to(tl.int64) & 0xFFFF
    return tier, rank + popcount(members)


@triton.jit
def small_row(function, local, there, hashed: tl.constexpr):
    """Row of a small table, by the four words at ``function``: a digit of the local id (0, divisor, modulus, base), or
    a hash of it (multiplier, increment, modulus, base); ``hashed``: 0 no function is a hash, 1 every one, 2 some."""
    multiplier = tl.load(function, there, other=0)
    second = tl.load(function + 1, there, other=1)
    modulus = tl.load(function + 2, there, other=1)
    row = local * 0
    if hashed != 1:
        divisor = tl.where(multiplier == 0, second, 1)
        row = (local.to(tl.uint32) // divisor.to(tl.uint32) % modulus.to(tl.uint32)).to(tl.int64)
    if hashed != 0:
        mixed = local.to(tl.uint64) * multiplier.to(tl.uint64) + second.to(tl.uint64)
        scaled = (((mixed >> 32) * modulus.to(tl.uint64)) >> 32).to(tl.int64)
        row = tl.where(multiplier == 0, row, scaled)
    return row + tl.load(function + 3, there, other=0)
