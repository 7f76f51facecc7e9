"""Sections 1 to 5 of docs/hashing.md, in Python's standard library.

XXH3 is written out below, from its published specification. Single precision comes from rounding each result of a
double to a single: for +, -, * and / of singles that gives the exact single result, because a double has more than
twice the digits.
"""

import struct

M32, M64 = (1 << 32) - 1, (1 << 64) - 1

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def read32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def read64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & M64


def fold(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def avalanche_64(h):
    h = (h ^ h >> 33) * P64[1] & M64
    h = (h ^ h >> 29) * P64[2] & M64
    return h ^ h >> 32


def mix16(data, at, secret, seed):
    low = read64(data, at) ^ (read64(SECRET, secret) + seed & M64)
    high = read64(data, at + 8) ^ (read64(SECRET, secret + 8) - seed & M64)
    return fold(low, high)


def xxh3_long(data, seed):
    secret = b"".join(
        ((read64(SECRET, at) + (seed if at % 16 == 0 else -seed)) & M64).to_bytes(8, "little")
        for at in range(0, 192, 8)
    )
    acc = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]

    def stripe(at, secret_at):
        for lane in range(8):
            value = read64(data, at + 8 * lane)
            keyed = value ^ read64(secret, secret_at + 8 * lane)
            acc[lane ^ 1] = acc[lane ^ 1] + value & M64
            acc[lane] = acc[lane] + (keyed & M32) * (keyed >> 32) & M64

    blocks = (len(data) - 1) // 1024
    for block in range(blocks):
        for number in range(16):
            stripe(1024 * block + 64 * number, 8 * number)
        for lane in range(8):
            value = acc[lane] ^ acc[lane] >> 47 ^ read64(secret, 128 + 8 * lane)
            acc[lane] = value * P32[0] & M64
    for number in range((len(data) - 1 - 1024 * blocks) // 64):
        stripe(1024 * blocks + 64 * number, 8 * number)
    stripe(len(data) - 64, 121)
    result = len(data) * P64[0] & M64
    for pair in range(4):
        a = acc[2 * pair] ^ read64(secret, 11 + 16 * pair)
        b = acc[2 * pair + 1] ^ read64(secret, 19 + 16 * pair)
        result = result + fold(a, b) & M64
    return avalanche(result)


def xxh3_64(data, seed):
    size = len(data)
    if size == 0:
        return avalanche_64(seed ^ read64(SECRET, 56) ^ read64(SECRET, 64))
    if size <= 3:
        mixed = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        return avalanche_64(mixed ^ ((read32(SECRET, 0) ^ read32(SECRET, 4)) + seed & M64))
    if size <= 8:
        seed ^= swap(seed & M32, 4) << 32
        flip = (read64(SECRET, 8) ^ read64(SECRET, 16)) - seed & M64
        h = (read32(data, size - 4) + (read32(data, 0) << 32)) ^ flip
        h = (h ^ rotate(h, 49) ^ rotate(h, 24)) * 0x9FB21C651E98DF25 & M64
        h = (h ^ (h >> 35) + size) * 0x9FB21C651E98DF25 & M64
        return h ^ h >> 28
    if size <= 16:
        low = read64(data, 0) ^ ((read64(SECRET, 24) ^ read64(SECRET, 32)) + seed & M64)
        high = read64(data, size - 8) ^ ((read64(SECRET, 40) ^ read64(SECRET, 48)) - seed & M64)
        return avalanche(size + swap(low, 8) + high + fold(low, high) & M64)
    acc = size * P64[0]
    if size <= 128:
        for step in range((size - 1) // 32 + 1):
            acc += mix16(data, 16 * step, 32 * step, seed)
            acc += mix16(data, size - 16 * (step + 1), 32 * step + 16, seed)
        return avalanche(acc & M64)
    if size <= 240:
        for step in range(8):
            acc += mix16(data, 16 * step, 16 * step, seed)
        acc = avalanche(acc & M64)
        for step in range(8, size // 16):
            acc += mix16(data, 16 * step, 16 * (step - 8) + 3, seed)
        return avalanche(acc + mix16(data, size - 16, 119, seed) & M64)
    return xxh3_long(data, seed)


KEY_SEED = int.from_bytes(b"twkey/v1", "big")
NODE_SEED = int.from_bytes(b"twnode/1", "big")


def key_hash(parts):
    seed = KEY_SEED
    for part in parts:
        seed = xxh3_64(part, seed)
    return seed


def node_seed(node_id):
    return xxh3_64(node_id.encode(), NODE_SEED)


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def from_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def to_bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


LN2, C1, C2 = from_bits(0x3F317218), from_bits(0x3F2AA36E), from_bits(0x3ED2F447)


def draw(key, seed):
    mixed = key ^ seed
    low, high = mixed & M32, mixed >> 32
    x = low * 0xED5AD4BB & M32
    x ^= x >> 11
    x ^= high
    x = x * 0xAC4C1B51 & M32
    x ^= x >> 15
    x = x * 0x31848BAB & M32
    return x >> 1


def exponential(d):
    v = single(single(d) + 0.5)
    u = single(single((1 << 31) - 1 - d) + 0.5)
    k = (0x4F3504F3 - to_bits(u)) >> 23
    m = from_bits(to_bits(u) + (k << 23))
    numerator = v if k == 0 else single(2.0**31 - m)
    s = single(numerator / single(2.0**31 + m))
    z = single(s * s)
    p = single(z * single(C1 + single(z * C2)))
    p = single(s * single(2.0 + p))
    return single(single(k * LN2) + p)


def race(key, seed, weight):
    inverse = single(1.0 / min(max(single(weight), 2.0**-64), 2.0**64))
    return single(exponential(draw(key, seed)) * inverse)
