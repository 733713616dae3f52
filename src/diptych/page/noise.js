// The noise of a seed, the same as that of `diptych sample`: numpy.random.default_rng([seed, 0]).uniform(-1, 1, size).
// numpy's SeedSequence is by M. E. O'Neill, "Developing a seed_seq alternative"; PCG64 is her XSL-RR 128/64.

const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const BITS_128 = (1n << 128n) - 1n, BITS_64 = (1n << 64n) - 1n;

/** float32 in [-1, 1], as many as `size`. */
function noiseOf(seed, size) {
  const words = [...wordsOf(BigInt(seed)), 0];
  const state = seedSequence(words);
  const pair = (high) => (state[high] << 64n) | state[high + 1];
  const increment = ((pair(2) << 1n) | 1n) & BITS_128;
  const step = (value) => (value * MULTIPLIER + increment) & BITS_128;
  let current = step((step(0n) + pair(0)) & BITS_128);
  return Float32Array.from({ length: size }, () => {
    current = step(current);
    const mixed = (current >> 64n) ^ (current & BITS_64), turn = current >> 122n;
    const word = ((mixed >> turn) | (mixed << ((64n - turn) & 63n))) & BITS_64;
    return -1 + 2 * (Number(word >> 11n) / 2 ** 53);
  });
}

/** A whole number as words of 32 bits, the lowest first. */
function wordsOf(number) {
  const words = [];
  do words.push(Number(number & 0xffffffffn)); while ((number >>= 32n) > 0n);
  return words;
}

/** Four words of 64 bits. */
function seedSequence(entropy) {
  const hasher = (constant, multiplier) => (value) => {
    value = (value ^ constant) >>> 0;
    constant = Math.imul(constant, multiplier) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mix = (x, y) => {
    const value = (Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715)) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mixed = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: 4 }, (_, i) => mixed(entropy[i] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], mixed(pool[from]));
  }
  for (const word of entropy.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], mixed(word));
  const drawn = hasher(0x8b51f9dd, 0x58f38ded);
  const halves = Array.from({ length: 8 }, (_, i) => BigInt(drawn(pool[i % 4])));
  return Array.from({ length: 4 }, (_, i) => halves[2 * i] | (halves[2 * i + 1] << 32n));
}
