"""exp, log, log1p, tanh, sigmoid and erf that LLVM turns into SIMD inside a kernel's loop.

The functions of libm stay scalar calls there (2–4 ns an element). These are range reduction and a
polynomial without a branch: both sides of a choice are computed and one is selected. They keep
NaN, ±inf, ±0 and denormal numbers; errors are at most 3 units in the last place (quick_erf, and
exp_below of less than -60: 5).

Each has a body for float32 and one for float64, and an argument is never converted between them.
Only "contract" is allowed here: the rounding tricks below would not survive reassociation.

Sources: Cephes (S. Moshier) for exp, log in float32 and tanh in float64; fdlibm e_log.c (Sun
Microsystems 1993) for log in float64; the erf approximation in float32 has the form published by
N. Juffa (an odd polynomial near 0, 1 - exp(polynomial) beyond), quick_erf that of Eigen and XLA.
"""

import math

import numpy as np

from minidl.kernels._jit import by_dtype, helper

f32 = np.float32

# Adding 1.5 * 2^23 (2^52) rounds to a whole number, which then stands in the lowest mantissa bits:
# unlike a conversion to int, this is defined for NaN too.
_ROUND32, _ROUND32_BITS = f32(12582912.0), np.int32(0x4B400000)
_SIGN32 = np.int32(-0x80000000)
_ROUND64, _ROUND64_BITS = np.float64(6755399441055744.0), np.int64(0x4338000000000000)


@helper
def _exp32(x):
    # exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2
    x = f32(89.0) if x > f32(89.0) else x  # exp is inf from 88.73 on
    x = f32(-104.0) if x < f32(-104.0) else x  # and 0 below -103.98
    shifted = x * f32(1.44269504088896341) + _ROUND32
    n = shifted - _ROUND32
    r = x - n * f32(0.693359375)  # ln 2 in two parts; the first has few bits, so n * it is exact
    r = r + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * (r * r) + r + f32(1.0)
    # 2^n in two factors: one alone cannot hold denormal results
    whole = np.int32(f32(shifted).view(np.int32) - _ROUND32_BITS)
    half = np.int32(whole >> np.int32(1))
    rest = np.int32(whole - half)
    a = np.int32(np.int32(half + np.int32(127)) << np.int32(23)).view(np.float32)
    b = np.int32(np.int32(rest + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * a * b


@helper
def _exp_below32(x):
    # as _exp32, for x <= 0 (or NaN), in 15 operations instead of 18: ln 2 in one part (float32
    # happens to be right to 2e-9 there; up to 5 units below -60), a minimax polynomial of degree 6,
    # and n added to the exponent of p, for what would be denormal is 0
    shifted = x * f32(1.44269504088896341) + _ROUND32
    r = x - (shifted - _ROUND32) * f32(0.69314718055994531)
    p = f32(1.3814318226650357e-3)
    p = p * r + f32(8.3688516169786e-3)
    p = p * r + f32(4.1668400168419e-2)
    p = p * r + f32(1.6666519641876e-1)
    p = p * r + f32(4.9999994039535e-1)
    p = p * r + f32(1.0)
    p = p * r + f32(1.0)
    n = np.int32(f32(shifted).view(np.int32) << np.int32(23))  # _ROUND32's own bits fall out
    y = np.int32(f32(p).view(np.int32) + n).view(np.float32)
    return y if x >= f32(-87.3) else (f32(0.0) if x < f32(0.0) else x)


@helper
def _exp64(x):
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    shifted = x * 1.4426950408889634 + _ROUND64
    n = shifted - _ROUND64
    r = x - n * 6.93147180369123816490e-01
    r = r - n * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0  # Taylor to r^13: the next term is below 5e-18
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * (r * r) + r + 1.0
    whole = np.float64(shifted).view(np.int64) - _ROUND64_BITS
    half = whole >> 1
    a = np.int64((half + 1023) << 52).view(np.float64)
    b = np.int64((whole - half + 1023) << 52).view(np.float64)
    return p * a * b


@helper
def _log32(x):
    # x = 2^e m, sqrt(1/2) <= m < sqrt(2);  log(x) = e ln 2 + log(1 + f), f = m - 1
    small = x < f32(1.17549435e-38)
    scaled = x * f32(8388608.0) if small else x  # 2^23 lifts a denormal number
    bits = np.int32(f32(scaled).view(np.int32) - np.int32(0x3F3504F3))  # of sqrt(1/2)
    e = f32(np.int32(bits >> np.int32(23)))
    e = e - f32(23.0) if small else e
    f = np.int32(np.int32(bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    f = f - f32(1.0)
    z = f * f
    p = f32(7.0376836292e-2)
    p = p * f + f32(-1.1514610310e-1)
    p = p * f + f32(1.1676998740e-1)
    p = p * f + f32(-1.2420140846e-1)
    p = p * f + f32(1.4249322787e-1)
    p = p * f + f32(-1.6668057665e-1)
    p = p * f + f32(2.0000714765e-1)
    p = p * f + f32(-2.4999993993e-1)
    p = p * f + f32(3.3333331174e-1)
    y = f * z * p
    y = y + e * f32(-2.12194440e-4)
    y = y - f32(0.5) * z
    y = f + y
    y = y + e * f32(0.693359375)
    y = x if x > f32(3.4028235e38) else y
    y = f32(-np.inf) if x == f32(0.0) else y
    return y if x >= f32(0.0) else f32(np.nan)


@helper
def _log64(x):
    small = x < 2.2250738585072014e-308
    scaled = x * 18014398509481984.0 if small else x  # 2^54
    bits = np.float64(scaled).view(np.int64) - np.int64(0x3FE6A09E667F3BCD)
    whole = np.float64(bits >> 52)
    e = whole - 54.0 if small else whole
    m = np.int64((bits & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD))
    f = np.int64(m).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    p = 1.531383769920937332e-01 * w + 2.222219843214978396e-01
    p = w * (p * w + 3.999999999940941908e-01)
    q = 1.479819860511658591e-01 * w + 1.818357216161805012e-01
    q = q * w + 2.857142874366239149e-01
    q = z * (q * w + 6.666666666666735130e-01)
    h = 0.5 * f * f
    y = s * (h + p + q) + e * 1.90821492927058770002e-10 - h + f + e * 6.93147180369123816490e-01
    y = x if x > 1.7976931348623157e308 else y
    y = np.float64(-np.inf) if x == 0.0 else y
    return y if x >= 0.0 else np.nan


@helper
def _log1p32(u):
    # for u >= 0. What 1 + u rounds away comes back as a first-order correction.
    w = f32(1.0) + u
    y = _log32(w) - ((w - f32(1.0)) - u) / w
    return u if u > f32(3.4028235e38) else y


@helper
def _log1p64(u):
    w = 1.0 + u
    y = _log64(w) - ((w - 1.0) - u) / w
    return u if u > 1.7976931348623157e308 else y


@helper
def _tanh32(x):
    # tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|) = 2^n (1 + q): with q = exp(r) - 1 at hand
    # nothing cancels near 0 (there n = 0), so there is one way for all x: .32 ns, not .48
    t = f32(-2.0) * abs(x)
    t = f32(-19.0) if t < f32(-19.0) else t  # tanh(9.5) rounds to 1
    shifted = t * f32(1.44269504088896341) + _ROUND32
    n = shifted - _ROUND32
    r = t - n * f32(0.693359375)
    r = r + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    q = p * (r * r) + r
    bits = np.int32(f32(shifted).view(np.int32) << np.int32(23))  # n in the place of the exponent
    s = np.int32(bits + np.int32(0x3F800000)).view(np.float32)  # 2^n
    y = ((f32(1.0) - s) - s * q) / ((f32(1.0) + s) + s * q)
    sign = np.int32(f32(x).view(np.int32) & _SIGN32)
    return np.int32(f32(y).view(np.int32) | sign).view(np.float32)


@helper
def _tanh64(x):
    a = abs(x)
    s = x * x
    p = -9.64399179425052238628e-1
    p = p * s + -9.92877231001918586564e1
    p = p * s + -1.61468768441708447952e3
    q = s + 1.12811678491632931402e2
    q = q * s + 2.23548839060100448583e3
    q = q * s + 4.84406305325125486048e3
    near = x if s == 0.0 else x + x * s * (p / q)
    far = 1.0 - 2.0 / (_exp64(2.0 * a) + 1.0)
    far = -far if x < 0.0 else far
    return near if a < 0.625 else far


@helper
def _sigmoid32(x):
    # 1 / (1 + exp(-x)) would overflow to 0 below -88, where the true value is still denormal
    e = _exp32(-abs(x))
    return (e if x < f32(0.0) else f32(1.0)) / (f32(1.0) + e)


@helper
def _quick_sigmoid32(x):
    # x within ±87: one factor 2^n, whose bits are added to those of exp(r)
    x = f32(87.0) if x > f32(87.0) else x
    x = f32(-87.0) if x < f32(-87.0) else x
    shifted = x * f32(-1.44269504088896341) + _ROUND32
    n = shifted - _ROUND32
    r = -x - n * f32(0.693359375)
    r = r + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * (r * r) + r + f32(1.0)
    bits = np.int32(f32(shifted).view(np.int32) << np.int32(23))
    e = np.int32(f32(p).view(np.int32) + bits).view(np.float32)
    return f32(1.0) / (f32(1.0) + e)


@helper
def _sigmoid64(x):
    e = _exp64(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


@helper
def _erf32(x):
    t = abs(x)
    t = f32(4.0) if t > f32(4.0) else t  # erf(4) rounds to 1
    s = t * t
    p = f32(-1.72853470e-5) * t + f32(3.83197126e-4)
    p = p * s + (f32(-3.88396438e-3) * t + f32(2.42546219e-2))
    p = p * t + f32(-1.06777877e-1)
    p = p * t + f32(-6.34846687e-1)
    p = p * t + f32(-1.28717512e-1)
    far = f32(1.0) - _exp32(p * t - t)
    far = -far if x < f32(0.0) else far
    q = f32(-5.96761703e-4)
    q = q * s + f32(4.99119423e-3)
    q = q * s + f32(-2.67681349e-2)
    q = q * s + f32(1.12819925e-1)
    q = q * s + f32(-3.76125336e-1)
    q = q * s + f32(1.28379166e-1)
    near = q * x + x
    return near if t <= f32(0.927734375) else far


@helper
def _quick_erf32(x):
    # x P(x^2) / Q(x^2): half the time of _erf32, but the roundings add up near 1
    c = f32(4.0) if x > f32(4.0) else x
    c = f32(-4.0) if c < f32(-4.0) else c
    s = c * c
    p = f32(-2.72614225801306e-10) * s + f32(2.77068142495902e-08)
    p = p * s + f32(-2.10102402082508e-06)
    p = p * s + f32(-5.69250639462346e-05)
    p = p * s + f32(-7.34990630326855e-04)
    p = p * s + f32(-2.95459980854025e-03)
    p = p * s + f32(-1.60960333262415e-02)
    q = f32(-1.45660718464996e-05) * s + f32(-2.13374055278905e-04)
    q = q * s + f32(-1.68282697438203e-03)
    q = q * s + f32(-7.37332916720468e-03)
    q = q * s + f32(-1.42647390514189e-02)
    return c * (p / q)


@helper
def _erf64(x):
    return math.erf(x)  # float64 is for checks here, not for speed


@helper
def _order32(x):
    bits = f32(x).view(np.int32)
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@helper
def _order64(x):
    bits = np.float64(x).view(np.int64)
    return bits ^ ((bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))


@helper
def _unorder32(key):
    bits = key ^ np.int32(np.int32(key >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return np.int32(bits).view(np.float32)


@helper
def _unorder64(key):
    bits = key ^ ((key >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))
    return np.int64(bits).view(np.float64)


exp = by_dtype(float32=_exp32, float64=_exp64)
exp_below = by_dtype(float32=_exp_below32, float64=_exp64)
"""exp(x) for x <= 0, as of a softmax less its maximum; results below 1.2e-38 are 0."""
log = by_dtype(float32=_log32, float64=_log64)
log1p = by_dtype(float32=_log1p32, float64=_log1p64)
"""log(1 + u) for u >= 0, right for tiny u."""
tanh = by_dtype(float32=_tanh32, float64=_tanh64)
sigmoid = by_dtype(float32=_sigmoid32, float64=_sigmoid64)
quick_sigmoid = by_dtype(float32=_quick_sigmoid32, float64=_sigmoid64)
"""For gates: three quarters of sigmoid's time; results below 1.6e-38 are 1.6e-38."""
erf = by_dtype(float32=_erf32, float64=_erf64)
quick_erf = by_dtype(float32=_quick_erf32, float64=_erf64)
"""For 1 + erf(x), as in GELU, where the last digits of erf drop out."""
order_key = by_dtype(float32=_order32, float64=_order64)
"""A whole number that grows with x: LLVM makes SIMD of a maximum of integers, and not of a maximum
of floats that must keep NaN. A NaN's key is above that of inf."""
from_order_key = by_dtype(float32=_unorder32, float64=_unorder64)
