// A zip archive of files as they are, without compression: pictures have their own.

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

function crcOf(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** `files` are { name, blob }; the archive is made of the blobs, which need not fit into memory at once. */
async function zipOf(files) {
  const parts = [], directory = [];
  let place = 0;
  for (const { name, blob } of files) {
    const called = new TextEncoder().encode(name), crc = crcOf(new Uint8Array(await blob.arrayBuffer()));
    // Version 2.0, names in UTF-8, stored, the first day of that calendar
    const about = [[20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [crc, 4], [blob.size, 4], [blob.size, 4], [called.length, 2], [0, 2]];
    parts.push(record([[0x04034b50, 4], ...about]), called, blob);
    directory.push(record([[0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [place, 4]]), called);
    place += 30 + called.length + blob.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0), count = files.length;
  const end = record([[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [place, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Numbers, each with its bytes, the lowest first. */
function record(numbers) {
  const bytes = [];
  for (const [number, count] of numbers) for (let i = 0; i < count; i++) bytes.push(Math.floor(number / 256 ** i) % 256);
  return Uint8Array.from(bytes);
}
