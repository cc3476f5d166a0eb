/* One stored row to `width` floats: the codecs of sharkbench/formats/codec.py. Needs ISA (0 plain C, 2 AVX2, 3 AVX-512).
 *
 * Products and sums are rounded one by one (no fused multiply-add), so that every build gives the same bits.
 */
#if ISA
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

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

INLINE void decode_halves(const uint8_t *row, float *out, int64_t count) {
    int64_t k = 0;
#if ISA == 3
    for (; k + 16 <= count; k += 16)
        _mm512_storeu_ps(out + k, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(row + 2 * k))));
#endif
#if ISA
    for (; k + 8 <= count; k += 8)
        _mm256_storeu_ps(out + k, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(row + 2 * k))));
#endif
    for (; k < count; k++) out[k] = load_half(row + 2 * k);
}

INLINE void decode_bfloats(const uint8_t *row, float *out, int64_t count) {
    for (int64_t k = 0; k < count; k++) {
        uint16_t high;
        memcpy(&high, row + 2 * k, 2);
        uint32_t bits = (uint32_t)high << 16;
        memcpy(out + k, &bits, 4);
    }
}

INLINE void decode_bytes(const uint8_t *codes, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA == 3
    const __m512 s = _mm512_set1_ps(scale), o = _mm512_set1_ps(offset);
    for (; k + 16 <= count; k += 16) {
        __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(codes + k))));
        _mm512_storeu_ps(out + k, _mm512_add_ps(_mm512_mul_ps(x, s), o));
    }
#elif ISA == 2
    const __m256 s = _mm256_set1_ps(scale), o = _mm256_set1_ps(offset);
    for (; k + 8 <= count; k += 8) {
        __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(codes + k))));
        _mm256_storeu_ps(out + k, _mm256_add_ps(_mm256_mul_ps(x, s), o));
    }
#endif
    for (; k < count; k++) out[k] = (float)codes[k] * scale + offset;
}

INLINE void decode_nibbles(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    int64_t k = 0;
#if ISA
    const __m128i low = _mm_set1_epi8(15);
    for (; k + 16 <= count; k += 16) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(packed + k / 2));
        uint8_t codes[16];
        _mm_storeu_si128((__m128i *)codes, _mm_unpacklo_epi8(_mm_and_si128(bytes, low),
                                                             _mm_and_si128(_mm_srli_epi16(bytes, 4), low)));
        decode_bytes(codes, out + k, 16, scale, offset);
    }
#endif
    for (; k < count; k++) out[k] = (float)(packed[k >> 1] >> (4 * (k & 1)) & 15) * scale + offset;
}

/* Two bits and one: few values, so they are computed once per row and picked. */
INLINE void decode_pairs(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    const float values[4] = {0.0f * scale + offset, scale + offset, 2.0f * scale + offset, 3.0f * scale + offset};
    int64_t k = 0;
#if ISA == 3
    const __m512 table = _mm512_broadcast_f32x4(_mm_loadu_ps(values));
    const __m512i shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (; k + 16 <= count; k += 16) {
        int32_t word;
        memcpy(&word, packed + k / 4, 4);
        const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32(word), shifts), _mm512_set1_epi32(3));
        _mm512_storeu_ps(out + k, _mm512_permutexvar_ps(codes, table));
    }
#endif
    for (; k < count; k++) out[k] = values[packed[k >> 2] >> (2 * (k & 3)) & 3];
}

INLINE void decode_signs(const uint8_t *packed, float *out, int64_t count, float scale, float offset) {
    const float values[2] = {0.0f * scale + offset, scale + offset};
    int64_t k = 0;
#if ISA == 3
    for (; k + 16 <= count; k += 16) {
        uint16_t mask;
        memcpy(&mask, packed + k / 8, 2);
        _mm512_storeu_ps(out + k, _mm512_mask_blend_ps(mask, _mm512_set1_ps(values[0]), _mm512_set1_ps(values[1])));
    }
#endif
    for (; k < count; k++) out[k] = values[packed[k >> 3] >> (k & 7) & 1];
}

/* `dtype` and `width` are constants where the caller has specialised on them. */
INLINE void decode_row(const Codec *codec, int64_t dtype, int64_t width, const uint8_t *row, float *out) {
    if (dtype == FP32) {
        memcpy(out, row, 4 * width);
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
    const int64_t body = width - codec->tail, bits = dtype == INT8 ? 8 : dtype == INT4 ? 4 : dtype == INT2 ? 2 : 1;
    const uint8_t *after = row + ((body * bits + 7) >> 3), *numbers = after + 2 * codec->tail;
    const float scale = codec->scale_bytes == 4 ? load_float(numbers) : load_half(numbers);
    const float zero = bits == 1 ? 0.5f : (float)(1 << (bits - 1));
    const float offset = codec->symmetric          ? scale * -zero
                         : codec->scale_bytes == 4 ? load_float(numbers + 4)
                                                   : load_half(numbers + 2);
    if (dtype == INT8) decode_bytes(row, out, body, scale, offset);
    if (dtype == INT4) decode_nibbles(row, out, body, scale, offset);
    if (dtype == INT2) decode_pairs(row, out, body, scale, offset);
    if (dtype == INT1) decode_signs(row, out, body, scale, offset);
    for (int64_t k = 0; k < codec->tail; k++) out[body + k] = load_half(after + 2 * k);
}
