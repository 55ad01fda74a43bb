// A short run of the fuzz targets: their seeds, and seeds changed in ways that follow from a number.
import { test } from 'node:test';
import { target as chunked } from './chunked.fuzz.ts';
import { target as head } from './head.fuzz.ts';

const PIECES = ['\r\n', '\n', '\r', ' ', '\t', ':', ',', ';', '0', '5', 'a', 'F', '+', '_', '0x', '\0', '\x7f', '\xff', 'chunked', 'Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: b\r\n', 'HTTP/1.0', '\r\n\r\n', '0\r\n\r\n'];

function changed(seed: Buffer, number: number): Buffer {
  let state = number;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 4_294_967_296) * below);
  };
  let text = seed.toString('latin1');
  for (let n = 1 + next(3); n > 0; n--) {
    const at = next(text.length + 1);
    const piece = PIECES[next(PIECES.length)] ?? '';
    const kind = next(3);
    if (kind === 0) text = text.slice(0, at) + piece + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + 1 + next(4));
    else text = text.slice(0, at) + piece + text.slice(at + piece.length);
  }
  return Buffer.from(text, 'latin1');
}

for (const target of [head, chunked]) {
  test(`${target.name}: the invariants hold for every seed and for changes of it`, () => {
    for (const seed of target.seeds) {
      target.run(seed);
      for (let n = 0; n < 20; n++) target.run(changed(seed, n * 7_919 + seed.length));
    }
  });
}
