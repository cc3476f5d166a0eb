/* One stored row to `width` floats: the codecs of sharkbench/formats/codec.py. Needs ISA (0 plain C, 2 AVX2, 3 AVX-512).
 *
 * Products and sums are rounded one by one (no fused multiply-add), so that every build gives the same bits.
 */
/* As many floats as one register of the instruction set holds, at any address. */
enum { LANES = ISA == 3 ? 16 : ISA == 2 ? 8 : 4 };
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef Vector LooseVector __attribute__((aligned(4), may_alias));

INLINE Vector load_vector(const float *at) { return *(const LooseVector *)at; }
INLINE void store_vector(float *at, Vector vector) { *(LooseVector *)at = vector; }
INLINE Vector broadcast(float value) { return value - (Vector){0}; }

enum dtype { FP32, FP16, BF16, INT8, INT4, INT2, INT1 };

/* How the rows of one table are stored; filled from CODEC_WORDS words of a program. */
typedef struct {
    int64_t dtype, scale_bytes, symmetric, tail, row_bytes;
} Codec;
enum { CODEC_WORDS = 5 };

INLINE Codec read_codec(const int64_t *words) {
    Codec codec = {words[0], words[1], words[2], words[3], words[4]};
    return codec;
}

INLINE float half_to_float(uint16_t half) {
#if ISA
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
#else
    /* Scaling by 2^112 moves the exponent from half's bias to float's and makes subnormals normal. */
    union {
        uint32_t bits;
        float value;
    } number = {(uint32_t)(half & 0x7fff) << 13}, scale = {0x77800000};
    number.value *= scale.value;
    if (number.value >= 65536.0f) number.bits |= 0x7f800000; /* infinity and NaN */
    number.bits |= (uint32_t)(half & 0x8000) << 16;
    return number.value;
#endif
}

INLINE float load_float(const uint8_t *at) {
    float value;
    memcpy(&value, at, 4);
    return value;
}

INLINE float load_half(const uint8_t *at) {
    uint16_t half;
    memcpy(&half, at, 2);
    return half_to_float(half);
}

#if ISA == 3
/* The first `left` of 16 lanes. */
INLINE __mmask16 first_lanes(int64_t left) { return left < 16 ? (__mmask16)((1 << left) - 1) : 0xffff; }

/* STEP for 16 numbers at a time from k on, `lanes` of them wanted. Masks for the rest only: what a masked store has
 * written cannot be read back before it is in the cache. */
#define BY_16(STEP)                                           \
    for (; k + 16 <= count; k += 16) {                        \
        const __mmask16 lanes = 0xffff;                       \
        STEP                                                  \
    }                                                         \
    if (k < count) {                                          \
        const __mmask16 lanes = first_lanes(count - k);       \
        STEP                                                  \
        k = count;                                            \
    }
#endif

INLINE void copy_floats(const uint8_t *row, float *out, int64_t count) {
#if ISA == 3
    int64_t k = 0;
    BY_16(_mm512_mask_storeu_ps(out + k, lanes, _mm512_maskz_loadu_ps(lanes, row + 4 * k));)
#else
    memcpy(out, row, 4 * count);
#endif
}

INLINE void decode_halves(const uint8_t *row, float *out, int64_t count) {
    int64_t k = 0;
#if ISA == 3
    BY_16(_mm512_mask_storeu_ps(out + k, lanes, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, row + 2 * k)));)
#elif ISA == 2
    for (; k + 8 <= count; k += 8)
        _mm256_storeu_ps(out + k, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * k))));
#endif
    for (; k < count; k++) out[k] = load_half(row + 2 * k);
}

INLINE void decode_bfloats(const uint8_t *row, float *out, int64_t count) {
    int64_t k = 0;
#if ISA == 3
    BY_16(const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, row + 2 * k));
          _mm512_mask_storeu_epi32(out + k, lanes, _mm512_slli_epi32(high, 16));)
#endif
    for (; k < count; k++) {
        uint16_t high;
        memcpy(&high, row + 2 * k, 2);
        uint32_t bits = (uint32_t)high << 16;
        memcpy(out + k, &bits, 4);
    }
}

/* Codes as numbers: the product and the sum rounded one by one. */
#if ISA == 3
INLINE void store_codes(float *out, __mmask16 lanes, __m512i codes, float scale, float offset) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(scale));
    _mm512_mask_storeu_ps(out, lanes, _mm512_add_ps(product, _mm512_set1_ps(offset)));
}
#elif ISA == 2
INLINE void store_codes(float *out, __m128i bytes, float scale, float offset) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), _mm256_set1_ps(scale));
    _mm256_storeu_ps(out, _mm256_add_ps(product, _mm256_set1_ps(offset)));
}
#endif

INLINE void decode_bytes(const uint8_t *codes, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA == 3
    BY_16(store_codes(out + k, lanes, _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, codes + k)), scale, offset);)
#elif ISA == 2
    for (; k + 8 <= count; k += 8) store_codes(out + k, _mm_loadl_epi64((const __m128i *)(codes + k)), scale, offset);
#endif
    for (; k < count; k++) out[k] = (float)codes[k] * scale + offset;
}

INLINE void decode_nibbles(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA
    const __m128i low = _mm_set1_epi8(15);
#endif
#if ISA == 3
    BY_16(
        const __m128i bytes = count - k < 16 ? _mm_maskz_loadu_epi8(first_lanes((count - k + 1) >> 1), packed + k / 2)
                                             : _mm_loadl_epi64((const __m128i *)(packed + k / 2));
        const __m128i codes =
            _mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low));
        store_codes(out + k, lanes, _mm512_cvtepu8_epi32(codes), scale, offset);)
#elif ISA == 2
    for (; k + 16 <= count; k += 16) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(packed + k / 2));
        const __m128i codes =
            _mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low));
        store_codes(out + k, codes, scale, offset);
        store_codes(out + k + 8, _mm_srli_si128(codes, 8), scale, offset);
    }
#endif
    for (; k < count; k++) out[k] = (float)(packed[k >> 1] >> (4 * (k & 1)) & 15) * scale + offset;
}

#if ISA == 3
/* Codes of `bits` bits (1 or 2), 16 of them from the bytes that hold `count`. */
INLINE __m512i short_codes(const uint8_t *packed, int bits, int64_t count) {
    const int64_t bytes = (count * bits + 7) >> 3;
    uint32_t word = 0;
    if (count >= 16)
        memcpy(&word, packed, 2 * bits);
    else
        for (int64_t b = 0; b < bytes; b++) word |= (uint32_t)packed[b] << (8 * b);
    const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i shifts = bits == 2 ? _mm512_slli_epi32(steps, 1) : steps;
    return _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32((int32_t)word), shifts), _mm512_set1_epi32((1 << bits) - 1));
}
#endif

INLINE void decode_pairs(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA == 3
    BY_16(store_codes(out + k, lanes, short_codes(packed + k / 4, 2, count - k), scale, offset);)
#endif
    for (; k < count; k++) out[k] = (float)(packed[k >> 2] >> (2 * (k & 3)) & 3) * scale + offset;
}

INLINE void decode_signs(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA == 3
    BY_16(store_codes(out + k, lanes, short_codes(packed + k / 8, 1, count - k), scale, offset);)
#endif
    for (; k < count; k++) out[k] = (float)(packed[k >> 3] >> (k & 7) & 1) * scale + offset;
}

/* The scale and the offset of an integer row. */
INLINE void read_scale(const Codec *codec, int64_t bits, const uint8_t *numbers, float *scale, float *offset) {
    if (codec->symmetric) {
        *scale = codec->scale_bytes == 4 ? load_float(numbers) : load_half(numbers);
        *offset = *scale * -(bits == 1 ? 0.5f : (float)(1 << (bits - 1)));
        return;
    }
    if (codec->scale_bytes == 4) {
        *scale = load_float(numbers), *offset = load_float(numbers + 4);
        return;
    }
#if ISA
    int32_t word;
    memcpy(&word, numbers, 4);
    const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(word));
    *scale = _mm_cvtss_f32(both), *offset = _mm_cvtss_f32(_mm_movehdup_ps(both));
#else
    *scale = load_half(numbers), *offset = load_half(numbers + 2);
#endif
}

/* Of a code. */
INLINE int64_t bits_of(int64_t dtype) { return dtype == INT8 ? 8 : dtype == INT4 ? 4 : dtype == INT2 ? 2 : 1; }

/* `dtype` and `width` are constants where the caller has specialised on them. */
INLINE void decode_row(const Codec *codec, int64_t dtype, int64_t width, const uint8_t *row, float *out) {
    if (dtype == FP32) {
        copy_floats(row, out, width);
        return;
    }
    if (dtype == FP16) {
        decode_halves(row, out, width);
        return;
    }
    if (dtype == BF16) {
        decode_bfloats(row, out, width);
        return;
    }
    const int64_t body = width - codec->tail, bits = bits_of(dtype);
    const uint8_t *after = row + ((body * bits + 7) >> 3);
    float scale, offset;
    read_scale(codec, bits, after + 2 * codec->tail, &scale, &offset);
    if (dtype == INT8) decode_bytes(row, out, body, scale, offset);
    if (dtype == INT4) decode_nibbles(row, out, body, scale, offset);
    if (dtype == INT2) decode_pairs(row, out, body, scale, offset);
    if (dtype == INT1) decode_signs(row, out, body, scale, offset);
    for (int64_t k = 0; k < codec->tail; k++) out[body + k] = load_half(after + 2 * k);
}

INLINE void decode_any(const Codec *codec, int64_t width, const uint8_t *row, float *out) {
    switch (codec->dtype) {
        case FP32: decode_row(codec, FP32, width, row, out); break;
        case FP16: decode_row(codec, FP16, width, row, out); break;
        case BF16: decode_row(codec, BF16, width, row, out); break;
        case INT8: decode_row(codec, INT8, width, row, out); break;
        case INT4: decode_row(codec, INT4, width, row, out); break;
        case INT2: decode_row(codec, INT2, width, row, out); break;
        default: decode_row(codec, INT1, width, row, out);
    }
}
